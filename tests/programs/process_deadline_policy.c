// A thread under SCHED_DEADLINE has its runtime, deadline and period after the restore.
// covers: scheduling
#include "scheduling.h"

enum { kDeadlinePolicy = 6 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const struct attributes wanted = {.size = sizeof wanted, .policy = kDeadlinePolicy, .runtime = 2000000, .deadline = 50000000, .period = 100000000};
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) == -1) SKIP("no SCHED_DEADLINE here: %s", strerror(errno));
  checkpoint_here();
  const struct attributes seen = attributes_of(0);
  CHECK_EQUAL(seen.policy, kDeadlinePolicy);
  CHECK_EQUAL(seen.runtime, wanted.runtime);
  CHECK_EQUAL(seen.deadline, wanted.deadline);
  CHECK_EQUAL(seen.period, wanted.period);
  return 0;
}
