// SIGCHLD that a blocked parent has not taken yet is still pending, with the child's pid and status.
// covers: signals-pending
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  const pid_t child = MUST(fork());
  if (child == 0) _exit(19);
  siginfo_t info;
  MUST(waitid(P_PID, child, &info, WEXITED));
  checkpoint_here();
  const struct timespec now = {0, 0};
  const int got = sigtimedwait(&set, &info, &now);
  CHECK_EQUAL(got, SIGCHLD);
  CHECK(info.si_code == CLD_EXITED && info.si_pid == child && info.si_status == 19, "si_code %d, si_pid %d, si_status %d", info.si_code, info.si_pid,
        info.si_status);
  return 0;
}
