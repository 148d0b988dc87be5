// A file that was unlinked, with another one now under its name: the descriptor stays with the old one.
// covers: deleted-file
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("file");
  const int old = MUST(open(path, O_RDWR | O_CREAT, 0600));
  CHECK_EQUAL(write(old, "old", 3), 3);
  MUST(unlink(path));
  const int new = MUST(open(path, O_RDWR | O_CREAT, 0600));
  CHECK_EQUAL(write(new, "newer", 5), 5);
  checkpoint_here();
  char text[8] = "";
  CHECK_EQUAL(pread(old, text, sizeof text, 0), 3);
  CHECK(!strcmp(text, "old"), "read %s", text);
  CHECK_EQUAL(pread(new, text, sizeof text, 0), 5);
  CHECK(!strcmp(text, "newer"), "read %s", text);
  struct stat named, opened;
  MUST(stat(path, &named));
  MUST(fstat(new, &opened));
  CHECK_EQUAL(named.st_ino, opened.st_ino);
  CHECK_EQUAL(named.st_nlink, 1);
  return 0;
}
