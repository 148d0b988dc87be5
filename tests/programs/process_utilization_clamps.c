// The clamps of utilisation that a thread asked for come back.
// covers: scheduling
#include "scheduling.h"

enum { kKeepRest = 0x18, kClampLeast = 0x20, kClampMost = 0x40 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const struct attributes wanted = {.size = sizeof wanted, .flags = kKeepRest | kClampLeast | kClampMost, .clamp_least = 100, .clamp_most = 900};
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) == -1) SKIP("no clamps of utilisation here");
  checkpoint_here();
  const struct attributes seen = attributes_of(0);
  CHECK_EQUAL(seen.clamp_least, 100);
  CHECK_EQUAL(seen.clamp_most, 900);
  return 0;
}
