// A futex wait with a relative timeout fails with ETIMEDOUT in time.
// covers: blocked-syscalls
#include <linux/futex.h>

#include "timed.h"

static uint32_t word;

static long call(void) {
  const struct timespec timeout = timeout_timespec();
  return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &timeout);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  return run_timed((struct timed_call){.call = call, .number = SYS_futex, .result = -1, .error = ETIMEDOUT});
}
