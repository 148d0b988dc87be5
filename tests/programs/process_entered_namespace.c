// A process that unshared its UTS namespace is refused by name, and keeps its own host name, as others keep theirs.
// refused: (?i)namespace
#include <sched.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  if (geteuid() != 0) SKIP("unsharing needs root");
  char own[100], seen[100];
  MUST(gethostname(own, sizeof own));
  const pid_t child = MUST(fork());
  if (child == 0) {
    MUST(unshare(CLONE_NEWUTS));
    MUST(sethostname("elsewhere", 9));
    mark("unshared");
    wait_released(0);
    MUST(gethostname(seen, sizeof seen));
    CHECK(strcmp(seen, "elsewhere") == 0, "the host name is %s", seen);
    _exit(0);
  }
  wait_mark("unshared");
  checkpoint_here();
  MUST(gethostname(seen, sizeof seen));
  CHECK(strcmp(seen, own) == 0, "the host name is %s", seen);
  expect_child_passes(child);
  return 0;
}
