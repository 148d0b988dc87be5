// Expirations that nobody has read yet are still there; a periodic timer goes on; a thread sleeps until one that comes later.
// covers: timerfd
#include "check.h"
#include <sys/timerfd.h>

static int later;
static int64_t due_ns;

static void* sleeper(void* argument) {
  (void)argument;
  uint64_t count = 0;
  CHECK_EQUAL(read(later, &count, sizeof count), sizeof count);
  CHECK_EQUAL(count, 1);
  CHECK(clock_now_ns(CLOCK_MONOTONIC) >= due_ns, "the timer came early");
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int unread = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  const int periodic = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  later = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
  const struct itimerspec soon = {.it_value.tv_nsec = 1000000}, every = {{0, 10000000}, {0, 10000000}}, in_two_seconds = {.it_value.tv_sec = 2};
  MUST(timerfd_settime(unread, 0, &soon, NULL));
  MUST(timerfd_settime(periodic, 0, &every, NULL));
  due_ns = clock_now_ns(CLOCK_MONOTONIC) + 2000000000ll;
  MUST(timerfd_settime(later, 0, &in_two_seconds, NULL));
  pthread_t thread;
  CHECK_EQUAL(pthread_create(&thread, NULL, sleeper, NULL), 0);
  sleep_ms(105);
  checkpoint_here();
  uint64_t count;
  CHECK_EQUAL(read(unread, &count, sizeof count), sizeof count);
  CHECK_EQUAL(count, 1);
  CHECK(read(unread, &count, sizeof count) == -1 && errno == EAGAIN, "the one-shot timer expired twice");
  CHECK_EQUAL(read(periodic, &count, sizeof count), sizeof count);
  CHECK(count >= 10, "the periodic timer expired only %llu times", (unsigned long long)count);
  sleep_ms(50);
  CHECK_EQUAL(read(periodic, &count, sizeof count), sizeof count);
  CHECK(count >= 4, "the periodic timer expired only %llu times in 50 ms", (unsigned long long)count);
  pthread_join(thread, NULL);
  return 0;
}
