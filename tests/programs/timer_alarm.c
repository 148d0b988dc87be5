// alarm() goes off once, when it is due by the program's clock.
// covers: timers
#include "timed.h"

static volatile int count;
static volatile int64_t when_ms;

static void on_alarm(int number) {
  (void)number;
  count++;
  when_ms = monotonic_ms();
}

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGALRM, on_alarm);
  const int64_t started = monotonic_ms();
  alarm(3);
  sleep_ms(kElapsedMs);
  checkpoint_here();
  const int64_t resumed = monotonic_ms() - started;
  for (int64_t deadline = monotonic_ms() + 15000; count == 0; sleep_ms(2)) CHECK(monotonic_ms() < deadline, "it never went off");
  const int64_t due = when_ms - started;
  CHECK(due >= 2998 && due <= (resumed > 3000 ? resumed : 3000) + kToleranceMs, "it went off after %lld ms, not 3000", (long long)due);
  CHECK_EQUAL(alarm(0), 0);
  CHECK_EQUAL(count, 1);
  return 0;
}
