// The working directory comes back, by name and in use.
// covers: cwd
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  char* directory = scratch_path("a directory with spaces");
  MUST(mkdir(directory, 0700));
  MUST(chdir(directory));
  MUST(close(open("inside", O_CREAT | O_WRONLY, 0600)));
  checkpoint_here();
  char now[600];
  CHECK(getcwd(now, sizeof now) != NULL && strcmp(now, directory) == 0, "the working directory is %s", now);
  CHECK(access("inside", F_OK) == 0, "it is not the same directory");
  return 0;
}
