// POSIX timers come back under the same ids, gaps included, with clock, signal, value, interval and what is left of it; disarmed ones too.
// covers: timers
#include "timed.h"

static volatile int value;
static volatile int64_t when_ms;

static void on_signal(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  value = info->si_value.sival_int;
  when_ms = monotonic_ms();
}

static int create(clockid_t clock, int signal_number, int timer_value) {
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal_number, .sigev_value.sival_int = timer_value};
  int id = -1;
  MUST(syscall(SYS_timer_create, clock, &event, &id));
  return id;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  MUST(sigaction(SIGRTMIN + 1, &action, NULL));
  const int first = create(CLOCK_MONOTONIC, SIGUSR1, 1);
  const int removed = create(CLOCK_MONOTONIC, SIGUSR1, 2);
  const int due_soon = create(CLOCK_MONOTONIC, SIGRTMIN + 1, 4242);
  const int far = create(CLOCK_REALTIME, SIGUSR2, 3);
  MUST(syscall(SYS_timer_delete, removed));
  const struct itimerspec soon = {.it_value = timeout_timespec()};
  const struct itimerspec later = {.it_value = {5000, 0}, .it_interval = {6, 7}};
  const int64_t started = monotonic_ms();
  MUST(syscall(SYS_timer_settime, due_soon, 0, &soon, NULL));
  MUST(syscall(SYS_timer_settime, far, 0, &later, NULL));
  sleep_ms(kElapsedMs);
  checkpoint_here();
  const int64_t resumed = monotonic_ms() - started;
  struct itimerspec seen;
  MUST(syscall(SYS_timer_gettime, first, &seen));
  CHECK(seen.it_value.tv_sec == 0 && seen.it_value.tv_nsec == 0, "the disarmed timer is armed");
  CHECK(syscall(SYS_timer_gettime, removed, &seen) == -1 && errno == EINVAL, "the deleted timer is back");
  MUST(syscall(SYS_timer_gettime, far, &seen));
  CHECK(seen.it_interval.tv_sec == 6 && seen.it_interval.tv_nsec == 7, "interval %ld.%09ld", (long)seen.it_interval.tv_sec, seen.it_interval.tv_nsec);
  CHECK(seen.it_value.tv_sec > 4900 && seen.it_value.tv_sec <= 5000, "%ld s are left of 5000", (long)seen.it_value.tv_sec);
  for (int64_t deadline = monotonic_ms() + 15000; value == 0; sleep_ms(2)) CHECK(monotonic_ms() < deadline, "it never went off");
  CHECK_EQUAL(value, 4242);
  const int64_t due = when_ms - started;
  CHECK(due >= kTimeoutMs - 2 && due <= (resumed > kTimeoutMs ? resumed : kTimeoutMs) + kToleranceMs, "it went off after %lld ms, not %d", (long long)due, kTimeoutMs);
  return 0;
}
