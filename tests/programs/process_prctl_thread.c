// What prctl sets for one thread comes back: the kept capabilities flag, time stamp counter access, machine check policy, MDWE.
// covers: prctl
#include <sys/prctl.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const bool keeps = prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0;
  const bool early = prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) == 0;
  checkpoint_here();
  if (keeps) CHECK_EQUAL(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0), 1);
  if (early) CHECK_EQUAL(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
  return 0;
}
