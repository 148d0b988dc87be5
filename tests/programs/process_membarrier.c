// A process that registered for expedited membarrier() may still use it.
// covers: prctl
#include <linux/membarrier.h>

#include "check.h"

enum { kGetRegistrations = 1 << 9 };

int main(int argc, char** argv) {
  begin(argc, argv);
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == -1) SKIP("no membarrier here");
  MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
  MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0));
  const long before = syscall(SYS_membarrier, kGetRegistrations, 0, 0);
  checkpoint_here();
  MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
  MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
  CHECK_EQUAL(syscall(SYS_membarrier, kGetRegistrations, 0, 0), before);
  return 0;
}
