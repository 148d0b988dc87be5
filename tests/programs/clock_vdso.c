// clock_gettime() in the vDSO and as a system call agree, for every clock, and gettimeofday, time and getcpu work.
#include <sys/time.h>

#include "check.h"

static void compare(clockid_t clock) {
  struct timespec before, between, after;
  MUST(syscall(SYS_clock_gettime, clock, &before));
  MUST(clock_gettime(clock, &between));
  MUST(syscall(SYS_clock_gettime, clock, &after));
  const int64_t b = before.tv_sec * 1000000000ll + before.tv_nsec, m = between.tv_sec * 1000000000ll + between.tv_nsec,
                a = after.tv_sec * 1000000000ll + after.tv_nsec;
  CHECK(b <= m && m <= a, "clock %d: %lld, %lld (vDSO), %lld", clock, (long long)b, (long long)m, (long long)a);
}

static void look(void* argument) {
  (void)argument;
  compare(CLOCK_REALTIME);
  compare(CLOCK_MONOTONIC);
  compare(CLOCK_BOOTTIME);
  compare(CLOCK_TAI);
  compare(CLOCK_MONOTONIC_RAW);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  checkpoint_while(look, NULL);
  look(NULL);
  struct timeval now;
  gettimeofday(&now, NULL);
  CHECK(llabs((long long)now.tv_sec - (long long)time(NULL)) <= 1, "time() and gettimeofday() differ");
  unsigned cpu = 99999, node = 99999;
  MUST(getcpu(&cpu, &node));
  CHECK(cpu < 10000 && node < 10000, "getcpu: %u, %u", cpu, node);
  return 0;
}
