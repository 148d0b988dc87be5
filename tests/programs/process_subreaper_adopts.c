// A child subreaper adopts the descendants that are orphaned after the restore.
// covers: prctl
#include <sys/prctl.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
  const pid_t child = MUST(fork());
  if (child == 0) {
    if (MUST(fork()) == 0) {
      const pid_t former = getppid();
      mark("below");
      while (getppid() == former) sleep_ms(2);
      _exit(0x21);
    }
    wait_released(0);
    _exit(0);
  }
  wait_mark("below");
  checkpoint_here();
  expect_child_passes(child);
  int status = 0;
  const pid_t adopted = waitpid(-1, &status, 0);
  CHECK(adopted > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0x21, "no orphan came here: waitpid %d, status 0x%x", adopted, status);
  return 0;
}
