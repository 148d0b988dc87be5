// sigtimedwait() whose signal does not come fails with EAGAIN in time, not with EINTR.
// covers: blocked-syscalls
#include "timed.h"

static long call(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  const struct timespec timeout = timeout_timespec();
  return sigtimedwait(&set, NULL, &timeout);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  return run_timed((struct timed_call){.call = call, .number = SYS_rt_sigtimedwait, .result = -1, .error = EAGAIN});
}
