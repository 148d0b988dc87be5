// A stack that grows by a page each time a thread wakes, which it does while memory is being read, too, has every page that was written.
// covers: mappings
#include "check.h"

enum { kRoom = 64 << 20, kPages = 1900, kWords = 512 };
static volatile uint64_t* top;
static int grown;

static void check_all(void) {
  for (int page = 0; page <= grown; page++) CHECK_EQUAL(top[-page * kWords], page + 1);
}

static void step(void* argument) {
  (void)argument;
  if (grown < kPages) {
    grown++;
    top[-grown * kWords] = (uint64_t)grown + 1;
  }
  usleep(300);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  char* room = mmap(NULL, kRoom, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(munmap(room, kRoom));
  top = mmap(room + kRoom - 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
  CHECK(top != MAP_FAILED, "mmap");
  *top = 1;
  for (int i = 0; i < 600; i++) step(NULL);
  checkpoint_while(step, NULL);
  check_all();
  return 0;
}
