// The number of slots that a process asked for its futexes (PR_FUTEX_HASH) comes back.
// covers: prctl
#include <sys/prctl.h>

#include "check.h"

enum { kFutexHash = 78, kSetSlots = 1, kGetSlots = 2, kSlots = 64 };

static void* wait_for_release(void* argument) {
  (void)argument;
  wait_released(0);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const pthread_t thread = start_thread(wait_for_release, NULL);
  if (prctl(kFutexHash, kSetSlots, kSlots, 0, 0) == -1) SKIP("no futex slots of a process's own here");
  CHECK_EQUAL(prctl(kFutexHash, kGetSlots, 0, 0, 0), kSlots);
  checkpoint_here();
  CHECK_EQUAL(prctl(kFutexHash, kGetSlots, 0, 0, 0), kSlots);
  pthread_join(thread, NULL);
  return 0;
}
