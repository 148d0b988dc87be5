// Timerfds keep what is left of them: one-shot, periodic, absolute, disarmed, on three clocks.
// covers: timerfd
#include "check.h"
#include <sys/timerfd.h>

static double left_s(int fd, double* interval_s) {
  struct itimerspec value;
  MUST(timerfd_gettime(fd, &value));
  *interval_s = value.it_interval.tv_sec + value.it_interval.tv_nsec / 1e9;
  return value.it_value.tv_sec + value.it_value.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int one_shot = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  const int periodic = MUST(timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK));
  const int absolute = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  const int wall = MUST(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
  const int disarmed = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  const int64_t started_ns = clock_now_ns(CLOCK_MONOTONIC), wall_ns = clock_now_ns(CLOCK_REALTIME);
  const struct itimerspec hundred = {.it_value.tv_sec = 100}, every = {.it_value.tv_sec = 50, .it_interval = {7, 500000000}};
  const struct itimerspec at = {.it_value.tv_sec = started_ns / 1000000000 + 200}, at_wall = {.it_value.tv_sec = wall_ns / 1000000000 + 300};
  MUST(timerfd_settime(one_shot, 0, &hundred, NULL));
  MUST(timerfd_settime(periodic, 0, &every, NULL));
  MUST(timerfd_settime(absolute, TFD_TIMER_ABSTIME, &at, NULL));
  MUST(timerfd_settime(wall, TFD_TIMER_ABSTIME, &at_wall, NULL));
  checkpoint_here();
  const double passed_s = (clock_now_ns(CLOCK_MONOTONIC) - started_ns) / 1e9, wall_passed_s = (clock_now_ns(CLOCK_REALTIME) - wall_ns) / 1e9;
  double interval_s, left = left_s(one_shot, &interval_s);
  CHECK(left > 99.7 - passed_s && left < 100.1 - passed_s, "%.3f s are left after %.3f s", left, passed_s);
  CHECK(interval_s == 0, "interval %.3f s", interval_s);
  left = left_s(periodic, &interval_s);
  CHECK(left > 49.7 - passed_s && left < 50.1 - passed_s, "%.3f s are left after %.3f s", left, passed_s);
  CHECK(interval_s == 7.5, "interval %.3f s", interval_s);
  left = left_s(absolute, &interval_s);
  CHECK(left > 198.7 - passed_s && left < 200.1 - passed_s, "%.3f s are left after %.3f s", left, passed_s);
  left = left_s(wall, &interval_s);
  CHECK(left > 298.7 - wall_passed_s && left < 300.1 - wall_passed_s, "%.3f s are left after %.3f s of the wall clock", left, wall_passed_s);
  CHECK(left_s(disarmed, &interval_s) == 0, "the disarmed timer runs");
  uint64_t count;
  CHECK(read(one_shot, &count, sizeof count) == -1 && errno == EAGAIN, "the timer expired");
  return 0;
}
