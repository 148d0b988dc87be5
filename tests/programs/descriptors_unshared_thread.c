// A thread that left its process's descriptor table (unshare CLONE_FILES) keeps a table of its own.
// covers: descriptors
#include "check.h"
#include <sched.h>
#include <stdatomic.h>

static int only_main, only_thread;
static atomic_bool unshared;

static void* run(void* argument) {
  (void)argument;
  MUST(unshare(CLONE_FILES));
  only_thread = MUST(dup2(MUST(open("/dev/zero", O_RDONLY)), 90));
  MUST(close(only_main));
  unshared = true;
  wait_released(0);
  CHECK(fcntl(only_main, F_GETFD) == -1, "the thread got back descriptor %d", only_main);
  char byte = 1;
  CHECK_EQUAL(read(only_thread, &byte, 1), 1);
  CHECK_EQUAL(byte, 0);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  only_main = MUST(open("/dev/null", O_RDONLY));
  pthread_t thread;
  CHECK_EQUAL(pthread_create(&thread, NULL, run, NULL), 0);
  while (!unshared) sleep_ms(1);
  checkpoint_here();
  pthread_join(thread, NULL);
  char byte;
  CHECK_EQUAL(read(only_main, &byte, 1), 0);
  CHECK(fcntl(90, F_GETFD) == -1, "the thread's descriptor came up in its process");
  return 0;
}
