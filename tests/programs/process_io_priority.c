// The I/O priority and the timer slack come back.
// covers: scheduling
#include <sys/prctl.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int best_effort_6 = (2 << 13) | 6;
  MUST(syscall(SYS_ioprio_set, 1, 0, best_effort_6));
  MUST(prctl(PR_SET_TIMERSLACK, 123456ul));
  checkpoint_here();
  CHECK_EQUAL(syscall(SYS_ioprio_get, 1, 0), best_effort_6);
  CHECK_EQUAL(prctl(PR_GET_TIMERSLACK), 123456);
  return 0;
}
