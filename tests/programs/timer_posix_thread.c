// Timers that notify one thread (SIGEV_THREAD_ID) or run a function in a new one (SIGEV_THREAD) go on doing so.
// covers: timers
#include "check.h"

static volatile int function_calls;
static volatile int signals_here, signals_elsewhere;
static volatile pid_t target;
static volatile bool done;

static void run_function(union sigval value) { function_calls += value.sival_int == 5; }

static void on_signal(int number) {
  (void)number;
  if (gettid() == target) signals_here++;
  else signals_elsewhere++;
}

static void* wait_for_signals(void* argument) {
  (void)argument;
  target = gettid();
  while (!done) sleep_ms(5);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGRTMIN + 4, on_signal);
  pthread_t thread = start_thread(wait_for_signals, NULL);
  while (target == 0) sleep_ms(1);
  const struct itimerspec often = {.it_value = {0, 30000000}, .it_interval = {0, 30000000}};
  struct sigevent in_thread = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = run_function, .sigev_value.sival_int = 5};
  struct sigevent to_thread = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 4};
  to_thread._sigev_un._tid = target;
  timer_t first, second;
  MUST(timer_create(CLOCK_MONOTONIC, &in_thread, &first));
  MUST(timer_create(CLOCK_MONOTONIC, &to_thread, &second));
  MUST(timer_settime(first, 0, &often, NULL));
  MUST(timer_settime(second, 0, &often, NULL));
  checkpoint_here();
  const int calls_before = function_calls, signals_before = signals_here;
  for (int64_t deadline = monotonic_ms() + 15000; function_calls < calls_before + 3 || signals_here < signals_before + 3; sleep_ms(2))
    CHECK(monotonic_ms() < deadline, "%d calls, %d signals", function_calls - calls_before, signals_here - signals_before);
  CHECK_EQUAL(signals_elsewhere, 0);
  done = true;
  pthread_join(thread, NULL);
  return 0;
}
