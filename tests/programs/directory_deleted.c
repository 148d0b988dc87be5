// A deleted directory that is open, and is the working directory, is refused.
// refused: director
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("directory");
  MUST(mkdir(path, 0700));
  const int fd = MUST(open(path, O_RDONLY | O_DIRECTORY));
  MUST(chdir(path));
  MUST(rmdir(path));
  checkpoint_here();
  struct stat status;
  MUST(fstat(fd, &status));
  CHECK(S_ISDIR(status.st_mode), "mode 0%o", status.st_mode);
  CHECK_EQUAL(status.st_nlink, 0);
  CHECK(openat(fd, "x", O_CREAT | O_WRONLY, 0600) == -1 && errno == ENOENT, "a file can be made in a deleted directory");
  char name[4096];
  CHECK(getcwd(name, sizeof name) == NULL && errno == ENOENT, "the working directory is no longer a deleted one");
  return 0;
}
