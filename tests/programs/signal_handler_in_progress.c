// A signal handler that is running at the checkpoint, on an alternate stack, below another one, ends as it should: its signals are blocked
// until then, and what it interrupted goes on.
// covers: signal-mask
#include "check.h"

static volatile int depth, deepest;
static char stack[1 << 16];

static void inner(int number) {
  (void)number;
  depth++;
  deepest = depth;
  checkpoint_here();
  sigset_t seen;
  sigprocmask(SIG_BLOCK, NULL, &seen);
  CHECK(sigismember(&seen, SIGUSR2) == 1 && sigismember(&seen, SIGUSR1) == 1, "the handlers' signals are not blocked");
  char here;
  CHECK(&here >= stack && &here < stack + sizeof stack, "not on the alternate stack");
  depth--;
}

static void outer(int number) {
  (void)number;
  depth++;
  raise(SIGUSR2);
  depth--;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  MUST(sigaltstack(&alternate, NULL));
  const struct sigaction first = {.sa_handler = outer}, second = {.sa_handler = inner, .sa_flags = SA_ONSTACK};
  MUST(sigaction(SIGUSR1, &first, NULL));
  MUST(sigaction(SIGUSR2, &second, NULL));
  volatile long double held = 1.0L / 3;
  raise(SIGUSR1);
  CHECK_EQUAL(depth, 0);
  CHECK_EQUAL(deepest, 2);
  CHECK(held == 1.0L / 3, "the interrupted code lost a value");
  sigset_t seen;
  sigprocmask(SIG_BLOCK, NULL, &seen);
  CHECK(sigismember(&seen, SIGUSR2) == 0 && sigismember(&seen, SIGUSR1) == 0, "the handlers' signals stayed blocked");
  return 0;
}
