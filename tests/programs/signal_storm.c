// A process that gets thousands of signals while it is checkpointed loses none: every queued value is handled, in order.
#include "check.h"

static volatile int handled;
static int sent;

static void on_signal(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  CHECK(info->si_value.sival_int == handled + 1, "value %d comes after %d", info->si_value.sival_int, handled);
  handled = info->si_value.sival_int;
}

static void queue_some(void* argument) {
  (void)argument;
  for (int i = 0; i < 10; i++) MUST(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = ++sent}));
  CHECK_EQUAL(handled, sent);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
  MUST(sigaction(SIGRTMIN, &action, NULL));
  queue_some(NULL);
  checkpoint_while(queue_some, NULL);
  for (int i = 0; i < 10; i++) queue_some(NULL);
  return 0;
}
