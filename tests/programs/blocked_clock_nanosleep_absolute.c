// A sleep until a time of CLOCK_MONOTONIC ends then, by the program's clock.
#include "timed.h"

static long call(void) {
  const struct timespec deadline = deadline_timespec(CLOCK_MONOTONIC);
  return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  return run_timed((struct timed_call){.call = call, .number = SYS_clock_nanosleep, .result = 0});
}
