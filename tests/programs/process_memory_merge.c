// A process whose memory may all be merged (PR_SET_MEMORY_MERGE) has new mappings merged after the restore too.
// covers: prctl
#include "check.h"

#include <sys/prctl.h>

enum { kSetMemoryMerge = 67, kGetMemoryMerge = 68 };

int main(int argc, char** argv) {
  begin(argc, argv);
  if (prctl(kSetMemoryMerge, 1, 0, 0, 0) == -1) SKIP("no merging of memory here");
  checkpoint_here();
  CHECK_EQUAL(prctl(kGetMemoryMerge, 0, 0, 0, 0), 1);
  return 0;
}
