// pthread_cond_timedwait's kind of futex wait, until a time of CLOCK_MONOTONIC, ends then.
// covers: blocked-syscalls
#include <linux/futex.h>

#include "timed.h"

static uint32_t word;

static long call(void) {
  const struct timespec deadline = deadline_timespec(CLOCK_MONOTONIC);
  return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  return run_timed((struct timed_call){.call = call, .number = SYS_futex, .result = -1, .error = ETIMEDOUT});
}
