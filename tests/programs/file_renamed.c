// Files renamed after they were opened, and one whose first name is gone while a hard link is left: the inode counts.
// covers: file-offset
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int renamed = MUST(open(scratch_path("a"), O_RDWR | O_CREAT, 0600));
  CHECK_EQUAL(write(renamed, "renamed", 7), 7);
  MUST(rename(scratch_path("a"), scratch_path("b")));
  const int linked = MUST(open(scratch_path("c"), O_RDWR | O_CREAT, 0600));
  CHECK_EQUAL(write(linked, "linked", 6), 6);
  MUST(link(scratch_path("c"), scratch_path("d")));
  MUST(unlink(scratch_path("c")));
  MUST(close(MUST(open(scratch_path("a"), O_RDWR | O_CREAT, 0600))));
  checkpoint_here();
  struct stat opened, named;
  MUST(fstat(renamed, &opened));
  MUST(stat(scratch_path("b"), &named));
  CHECK_EQUAL(opened.st_ino, named.st_ino);
  MUST(fstat(linked, &opened));
  MUST(stat(scratch_path("d"), &named));
  CHECK_EQUAL(opened.st_ino, named.st_ino);
  CHECK_EQUAL(opened.st_nlink, 1);
  CHECK_EQUAL(lseek(renamed, 0, SEEK_CUR), 7);
  CHECK_EQUAL(lseek(linked, 0, SEEK_CUR), 6);
  return 0;
}
