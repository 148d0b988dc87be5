// A POSIX timer on the process's CPU clock goes off when the process has used the rest of its time.
// covers: timers
#include "check.h"

static volatile int count;
static void on_signal(int number) { (void)number, count++; }

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGUSR1, on_signal);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  timer_t timer;
  MUST(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer));
  const struct itimerspec value = {.it_value = {0, 500000000}};
  MUST(timer_settime(timer, 0, &value, NULL));
  checkpoint_here();
  CHECK_EQUAL(count, 0);
  for (int64_t deadline = monotonic_ms() + 20000; count == 0;) CHECK(monotonic_ms() < deadline, "it never went off");
  return 0;
}
