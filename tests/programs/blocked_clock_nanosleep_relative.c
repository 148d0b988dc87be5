// A sleep in clock_nanosleep without TIMER_ABSTIME lasts as long as asked for.
// covers: blocked-syscalls
#include "timed.h"

static long call(void) {
  const struct timespec timeout = timeout_timespec();
  return clock_nanosleep(CLOCK_MONOTONIC, 0, &timeout, NULL);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  return run_timed((struct timed_call){.call = call, .number = SYS_clock_nanosleep, .result = 0});
}
