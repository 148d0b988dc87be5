// The clamps of utilisation that a thread asked for come back.
// covers: scheduling
#include "check.h"

enum { kKeepRest = 0x18, kClampLeast = 0x20, kClampMost = 0x40 };

struct attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t least, most;
};

int main(int argc, char** argv) {
  begin(argc, argv);
  const struct attributes wanted = {.size = sizeof wanted, .flags = kKeepRest | kClampLeast | kClampMost, .least = 100, .most = 900};
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) == -1) SKIP("no clamps of utilisation here");
  checkpoint_here();
  struct attributes seen = {0};
  MUST(syscall(SYS_sched_getattr, 0, &seen, sizeof seen, 0));
  CHECK_EQUAL(seen.least, 100);
  CHECK_EQUAL(seen.most, 900);
  return 0;
}
