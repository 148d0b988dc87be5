// A real interval timer goes off when it is due by the program's clock, and goes on at its interval.
// covers: timers
#include <sys/time.h>

#include "timed.h"

static volatile int count;
static volatile int64_t first_ms;

static void on_alarm(int number) {
  (void)number;
  if (count++ == 0) first_ms = monotonic_ms();
}

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGALRM, on_alarm);
  const struct itimerval timer = {.it_value = {kTimeoutMs / 1000, kTimeoutMs % 1000 * 1000}, .it_interval = {0, 20000}};
  const int64_t started = monotonic_ms();
  MUST(setitimer(ITIMER_REAL, &timer, NULL));
  sleep_ms(kElapsedMs);
  checkpoint_here();
  const int64_t resumed = monotonic_ms() - started;
  struct itimerval seen;
  MUST(getitimer(ITIMER_REAL, &seen));
  CHECK_EQUAL(seen.it_interval.tv_usec, 20000);
  for (int64_t deadline = monotonic_ms() + 15000; count < 5; sleep_ms(2)) CHECK(monotonic_ms() < deadline, "it went off %d times", count);
  const int64_t due = first_ms - started;
  CHECK(due >= kTimeoutMs - 2 && due <= (resumed > kTimeoutMs ? resumed : kTimeoutMs) + kToleranceMs, "it went off after %lld ms, not %d", (long long)due, kTimeoutMs);
  return 0;
}
