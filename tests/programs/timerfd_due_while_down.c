// A timer of the wall clock that came due while the program was down has expired; one of the monotonic clock has not moved meanwhile.
// covers: timerfd
// downtime: 1.5
#include "check.h"
#include <poll.h>
#include <sys/timerfd.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int wall = MUST(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK)), steady = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  const int64_t due_ns = clock_now_ns(CLOCK_REALTIME) + 1000000000ll, started_ns = clock_now_ns(CLOCK_MONOTONIC);
  const struct itimerspec at_wall = {.it_value = {due_ns / 1000000000, due_ns % 1000000000}}, hundred = {.it_value.tv_sec = 100};
  MUST(timerfd_settime(wall, TFD_TIMER_ABSTIME, &at_wall, NULL));
  MUST(timerfd_settime(steady, 0, &hundred, NULL));
  checkpoint_here();
  struct pollfd polled = {wall, POLLIN, 0};
  CHECK_EQUAL(poll(&polled, 1, 5000), 1);
  CHECK(clock_now_ns(CLOCK_REALTIME) >= due_ns, "the timer came early");
  uint64_t count;
  CHECK_EQUAL(read(wall, &count, sizeof count), sizeof count);
  CHECK_EQUAL(count, 1);
  struct itimerspec left;
  MUST(timerfd_gettime(steady, &left));
  const double left_s = left.it_value.tv_sec + left.it_value.tv_nsec / 1e9, passed_s = (clock_now_ns(CLOCK_MONOTONIC) - started_ns) / 1e9;
  CHECK(left_s > 99.7 - passed_s && left_s < 100.1 - passed_s, "%.3f s are left after %.3f s", left_s, passed_s);
  return 0;
}
