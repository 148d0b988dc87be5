// Virtual and profiling interval timers keep their interval and what is left of it, and go off when the process has used the CPU.
// covers: timers
#include <sys/time.h>

#include "check.h"

static volatile int virtual_count, profiling_count;
static void on_virtual(int number) { (void)number, virtual_count++; }
static void on_profiling(int number) { (void)number, profiling_count++; }

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGVTALRM, on_virtual);
  signal(SIGPROF, on_profiling);
  const struct itimerval far = {.it_value = {3000, 0}, .it_interval = {7, 8}};
  const struct itimerval often = {.it_value = {0, 20000}, .it_interval = {0, 20000}};
  MUST(setitimer(ITIMER_VIRTUAL, &far, NULL));
  MUST(setitimer(ITIMER_PROF, &often, NULL));
  checkpoint_here();
  struct itimerval seen;
  MUST(getitimer(ITIMER_VIRTUAL, &seen));
  CHECK(seen.it_interval.tv_sec == 7, "interval %ld s", (long)seen.it_interval.tv_sec);
  CHECK(seen.it_value.tv_sec >= 2900 && seen.it_value.tv_sec <= 3001, "%ld s are left of 3000", (long)seen.it_value.tv_sec);
  const int before = profiling_count;
  for (int64_t deadline = monotonic_ms() + 15000; profiling_count < before + 3;) CHECK(monotonic_ms() < deadline, "SIGPROF came %d times", profiling_count - before);
  MUST(setitimer(ITIMER_VIRTUAL, &often, NULL));
  for (int64_t deadline = monotonic_ms() + 15000; virtual_count < 3;) CHECK(monotonic_ms() < deadline, "SIGVTALRM came %d times", virtual_count);
  return 0;
}
