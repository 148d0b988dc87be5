// A process in a chroot is in it after the restore, and its working directory below it.
// covers: cwd
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  if (geteuid() != 0) SKIP("chroot needs root");
  MUST(mkdir(scratch_path("root"), 0755));
  MUST(mkdir(scratch_path("root/below"), 0755));
  const pid_t child = MUST(fork());
  if (child == 0) {
    MUST(chroot(scratch_path("root")));
    MUST(chdir("/below"));
    MUST(close(open("/inside", O_CREAT | O_WRONLY, 0600)));
    while (access("/end", F_OK) != 0) sleep_ms(5);
    CHECK(access("/inside", F_OK) == 0 && access("/proc", F_OK) == -1, "not in the chroot any more");
    char now[100];
    CHECK(getcwd(now, sizeof now) != NULL && strcmp(now, "/below") == 0, "the working directory is %s", now);
    _exit(0);
  }
  while (access(scratch_path("root/inside"), F_OK) != 0) sleep_ms(2);
  checkpoint_here();
  MUST(close(open(scratch_path("root/end"), O_CREAT | O_WRONLY, 0600)));
  expect_child_passes(child);
  return 0;
}
