// A thread whose system calls are dispatched to a signal handler of its own (PR_SET_SYSCALL_USER_DISPATCH) is refused by name.
// refused: (?i)dispatch
#include <linux/prctl.h>
#include <sys/prctl.h>

#include "check.h"

static volatile char selector = SYSCALL_DISPATCH_FILTER_ALLOW;
static volatile int dispatched;

static void on_system_call(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  selector = SYSCALL_DISPATCH_FILTER_ALLOW;
  dispatched = info->si_syscall;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const struct sigaction action = {.sa_sigaction = on_system_call, .sa_flags = SA_SIGINFO};
  MUST(sigaction(SIGSYS, &action, NULL));
  if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector) == -1) SKIP("no system call dispatch here");
  checkpoint_here();
  selector = SYSCALL_DISPATCH_FILTER_BLOCK;
  syscall(SYS_getppid);
  CHECK_EQUAL(dispatched, SYS_getppid);
  return 0;
}
