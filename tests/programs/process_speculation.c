// A thread that had the processor's speculation restricted (PR_SET_SPECULATION_CTRL) has it restricted after the restore.
// covers: prctl
#include "check.h"

#include <sys/prctl.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int features[] = {PR_SPEC_STORE_BYPASS, PR_SPEC_INDIRECT_BRANCH};
  long before[2];
  bool any = false;
  for (int i = 0; i < 2; i++) {
    any |= prctl(PR_SET_SPECULATION_CTRL, features[i], PR_SPEC_DISABLE, 0, 0) == 0;
    before[i] = prctl(PR_GET_SPECULATION_CTRL, features[i], 0, 0, 0);
  }
  if (!any) SKIP("speculation cannot be restricted here");
  checkpoint_here();
  for (int i = 0; i < 2; i++) CHECK_EQUAL(prctl(PR_GET_SPECULATION_CTRL, features[i], 0, 0, 0), before[i]);
  return 0;
}
