// /proc/PID/exe names the program file after the restore as before, also for a program whose file was deleted meanwhile.
// covers: mappings
#include "check.h"

int main(int argc, char** argv) {
  char before[600] = "", after[600] = "";
  if (argc == 3) {
    snprintf(scratch_directory, sizeof scratch_directory, "%s", argv[1]);
    MUST(unlink(argv[2]));
    MUST(readlink("/proc/self/exe", before, sizeof before - 1));
    CHECK(strstr(before, "/copy") != NULL && strstr(before, " (deleted)") != NULL, "exe is %s", before);
    mark("deleted");
    wait_released(0);
    MUST(readlink("/proc/self/exe", after, sizeof after - 1));
    CHECK(strstr(after, " (deleted)") != NULL, "exe was %s, is %s", before, after);
    return 0;
  }
  begin(argc, argv);
  char* copy = scratch_path("copy");
  char command[1400];
  snprintf(command, sizeof command, "cp /proc/%d/exe %s", getpid(), copy);
  CHECK_EQUAL(system(command), 0);
  const pid_t child = MUST(fork());
  if (child == 0) MUST(execl(copy, copy, argv[1], copy, NULL));
  wait_mark("deleted");
  MUST(readlink("/proc/self/exe", before, sizeof before - 1));
  checkpoint_here();
  MUST(readlink("/proc/self/exe", after, sizeof after - 1));
  CHECK(strcmp(before, after) == 0, "exe was %s, is %s", before, after);
  expect_child_passes(child);
  return 0;
}
