// A process that confined itself by Landlock is refused by name, and stays confined.
// refused: (?i)landlock
#include <linux/landlock.h>
#include <sys/prctl.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const struct landlock_ruleset_attr attributes = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_DIR};
  const int ruleset = syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
  if (ruleset == -1) SKIP("no Landlock here");
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  MUST(syscall(SYS_landlock_restrict_self, ruleset, 0));
  close(ruleset);
  CHECK(mkdir(scratch_path("before"), 0700) == -1 && errno == EACCES, "Landlock does not work");
  checkpoint_here();
  CHECK(mkdir(scratch_path("after"), 0700) == -1 && errno == EACCES, "not confined any more");
  return 0;
}
