// A thread that may not read the time stamp counter (PR_SET_TSC) may not after the restore either, or is refused by name.
// refusal: (?i)time stamp counter
#include "check.h"

#include <sys/prctl.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  if (prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) == -1) SKIP("the time stamp counter is for all here");
  checkpoint_here();
  int mode = 0;
  MUST(prctl(PR_GET_TSC, &mode, 0, 0, 0));
  CHECK_EQUAL(mode, PR_TSC_SIGSEGV);
  return 0;
}
