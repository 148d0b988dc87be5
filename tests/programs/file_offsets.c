// Offsets beyond the end of the file, beyond 4 GiB, and after writes; what was written is there.
// covers: file-offset
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("file");
  const int written = MUST(open(path, O_RDWR | O_CREAT, 0600));
  const int beyond = MUST(open(path, O_RDONLY));
  const int far = MUST(open(path, O_RDONLY));
  CHECK_EQUAL(write(written, "0123456789", 10), 10);
  MUST(lseek(beyond, 5000, SEEK_SET));
  MUST(lseek(far, (5LL << 30) + 3, SEEK_SET));
  checkpoint_here();
  CHECK_EQUAL(lseek(written, 0, SEEK_CUR), 10);
  CHECK_EQUAL(lseek(beyond, 0, SEEK_CUR), 5000);
  CHECK_EQUAL(lseek(far, 0, SEEK_CUR), (5LL << 30) + 3);
  CHECK_EQUAL(write(written, "abc", 3), 3);
  char text[16] = "";
  CHECK_EQUAL(pread(far, text, sizeof text, 0), 13);
  CHECK(!strcmp(text, "0123456789abc"), "the file is %s", text);
  return 0;
}
