// A thread under SCHED_DEADLINE has its runtime, deadline and period after the restore.
// covers: scheduling
#include "check.h"

enum { kDeadlinePolicy = 6 };

struct attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

int main(int argc, char** argv) {
  begin(argc, argv);
  const struct attributes wanted = {.size = sizeof wanted, .policy = kDeadlinePolicy, .runtime = 2000000, .deadline = 50000000, .period = 100000000};
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) == -1) SKIP("no SCHED_DEADLINE here: %s", strerror(errno));
  checkpoint_here();
  struct attributes seen = {0};
  MUST(syscall(SYS_sched_getattr, 0, &seen, sizeof seen, 0));
  CHECK_EQUAL(seen.policy, kDeadlinePolicy);
  CHECK_EQUAL(seen.runtime, wanted.runtime);
  CHECK_EQUAL(seen.deadline, wanted.deadline);
  CHECK_EQUAL(seen.period, wanted.period);
  return 0;
}
