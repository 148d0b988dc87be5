// A memfd changed through a mapping that is made and unmapped again within one epoch has the change.
// covers: memfd
#include "check.h"

enum { kSize = 1 << 18 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(memfd_create("brief", 0));
  MUST(ftruncate(fd, kSize));
  for (int round = 1; round <= 20; round++) {
    char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    fill_pattern(memory, kSize, round);
    MUST(munmap(memory, kSize));
    if (round < 20) sleep_ms(7);
  }
  checkpoint_here();
  static uint64_t read_back[kSize / 8];
  CHECK_EQUAL(pread(fd, read_back, kSize, 0), kSize);
  check_pattern("memfd", read_back, kSize, 20);
  return 0;
}
