// pselect() with a timeout and a temporary signal mask returns 0 in time, and the thread has its own mask back.
// covers: blocked-syscalls
#include <sys/select.h>

#include "timed.h"

static long call(void) {
  sigset_t temporary, seen;
  sigfillset(&temporary);
  const struct timespec timeout = timeout_timespec();
  const long result = pselect(0, NULL, NULL, NULL, &timeout, &temporary);
  pthread_sigmask(SIG_SETMASK, NULL, &seen);
  CHECK(sigismember(&seen, SIGUSR2) == 0, "the temporary mask stayed");
  return result;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  return run_timed((struct timed_call){.call = call, .number = SYS_pselect6, .result = 0});
}
