// What prctl sets for a whole process comes back: dumpable, child subreaper, transparent huge pages off.
// covers: prctl
#include <sys/prctl.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
  MUST(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
  MUST(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
  checkpoint_here();
  CHECK_EQUAL(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
  int subreaper = 0;
  MUST(prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0));
  CHECK_EQUAL(subreaper, 1);
  CHECK_EQUAL(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 1);
  return 0;
}
