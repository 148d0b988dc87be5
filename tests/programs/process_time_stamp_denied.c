// A thread that may not read the time stamp counter (PR_SET_TSC) may not after the restore either; the other threads may.
// covers: prctl
#include "check.h"

#include <setjmp.h>
#include <sys/prctl.h>

static _Thread_local sigjmp_buf denied;

static void on_fault(int number) {
  (void)number;
  siglongjmp(denied, 1);
}

static bool may_read(void) {
  if (sigsetjmp(denied, 1) != 0) return false;
  __asm__ volatile("rdtsc" : : : "rax", "rdx");
  return true;
}

static int mode(void) {
  int mode = 0;
  MUST(prctl(PR_GET_TSC, &mode, 0, 0, 0));
  return mode;
}

static void* stay_permitted(void* argument) {
  (void)argument;
  wait_released(0);
  CHECK_EQUAL(mode(), PR_TSC_ENABLE);
  CHECK(may_read(), "a thread that was permitted to is denied it");
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGSEGV, on_fault);
  const pthread_t permitted = start_thread(stay_permitted, NULL);
  if (prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) == -1) SKIP("the time stamp counter is for all here");
  CHECK(!may_read(), "it is not denied");
  checkpoint_here();
  CHECK_EQUAL(mode(), PR_TSC_SIGSEGV);
  CHECK(!may_read(), "it is permitted again");
  MUST(prctl(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0));
  CHECK(may_read(), "it cannot be permitted again");
  CHECK_EQUAL(pthread_join(permitted, NULL), 0);
  return 0;
}
