// ppoll() with a timeout and a temporary signal mask returns 0 in time, and the thread has its own mask back.
// covers: blocked-syscalls
#include <poll.h>

#include "timed.h"

static long call(void) {
  sigset_t own, temporary, seen;
  sigemptyset(&own);
  sigaddset(&own, SIGUSR1);
  sigfillset(&temporary);
  MUST(pthread_sigmask(SIG_SETMASK, &own, NULL));
  const struct timespec timeout = timeout_timespec();
  const long result = ppoll(NULL, 0, &timeout, &temporary);
  pthread_sigmask(SIG_SETMASK, NULL, &seen);
  CHECK(sigismember(&seen, SIGUSR1) == 1 && sigismember(&seen, SIGUSR2) == 0, "the temporary mask stayed");
  return result;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  return run_timed((struct timed_call){.call = call, .number = SYS_ppoll, .result = 0});
}
