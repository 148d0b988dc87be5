// A process that shares its core with chosen threads alone (PR_SCHED_CORE) is refused.
// refused: PR_SCHED_CORE
#include <linux/prctl.h>
#include <sys/prctl.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  enum { kProcess = 1 };
  if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, kProcess, 0) == -1) SKIP("no core scheduling here");
  checkpoint_here();
  return 0;
}
