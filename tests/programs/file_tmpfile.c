// A file opened with O_TMPFILE keeps its contents and can still be given a name.
// covers: deleted-file
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = open(scratch_directory, O_TMPFILE | O_RDWR, 0600);
  if (fd < 0) SKIP("no O_TMPFILE in %s", scratch_directory);
  CHECK_EQUAL(write(fd, "content", 7), 7);
  checkpoint_here();
  char text[8] = "";
  CHECK_EQUAL(pread(fd, text, sizeof text, 0), 7);
  CHECK(!strcmp(text, "content"), "read %s", text);
  CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 7);
  const char* path = scratch_path("named");
  char self[64];
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  MUST(linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW));
  CHECK_EQUAL(write(fd, "more", 4), 4);
  char* whole = read_text(path);
  CHECK(whole && !strcmp(whole, "contentmore"), "the file is %s", whole);
  return 0;
}
