// A thread that may not execute CPUID (ARCH_SET_CPUID) may not after the restore either; the other threads may.
// covers: prctl
#include "check.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <setjmp.h>

static _Thread_local sigjmp_buf denied;

static void on_fault(int number) {
  (void)number;
  siglongjmp(denied, 1);
}

static bool may_execute(void) {
  unsigned a, b, c, d;
  if (sigsetjmp(denied, 1) != 0) return false;
  __cpuid(0, a, b, c, d);
  return true;
}

static void* stay_permitted(void* argument) {
  (void)argument;
  wait_released(0);
  CHECK_EQUAL(syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0), 1);
  CHECK(may_execute(), "a thread that was permitted to is denied it");
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGSEGV, on_fault);
  const pthread_t permitted = start_thread(stay_permitted, NULL);
  if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) == -1) SKIP("this processor cannot deny CPUID");
  CHECK(!may_execute(), "it is not denied");
  checkpoint_here();
  CHECK_EQUAL(syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0), 0);
  CHECK(!may_execute(), "it is permitted again");
  MUST(syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1));
  CHECK(may_execute(), "it cannot be permitted again");
  CHECK_EQUAL(pthread_join(permitted, NULL), 0);
  return 0;
}
