// A sleep in nanosleep lasts as long as asked for.
// covers: blocked-syscalls
#include "timed.h"

static long call(void) {
  const struct timespec timeout = timeout_timespec();
  return syscall(SYS_nanosleep, &timeout, NULL);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  return run_timed((struct timed_call){.call = call, .number = SYS_nanosleep, .result = 0});
}
