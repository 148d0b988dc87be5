// An unlinked open file keeps its contents, size, holes, mode and times; two separate opens of it stay one file.
// covers: deleted-file
#include "check.h"

enum { kSize = 300000 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("file");
  const int first = MUST(open(path, O_RDWR | O_CREAT, 0640));
  const int second = MUST(open(path, O_RDONLY));
  char* pattern = malloc(kSize);
  fill_pattern(pattern, kSize, 5);
  CHECK_EQUAL(write(first, pattern, kSize), kSize);
  CHECK_EQUAL(pwrite(first, "end", 3, 64 << 20), 3);
  MUST(lseek(second, 8000, SEEK_SET));
  MUST(fchmod(first, 0604));
  MUST(unlink(path));
  checkpoint_here();
  struct stat status, other;
  MUST(fstat(first, &status));
  MUST(fstat(second, &other));
  CHECK_EQUAL(status.st_nlink, 0);
  CHECK_EQUAL(status.st_size, (64 << 20) + 3);
  CHECK_EQUAL(status.st_mode, S_IFREG | 0604);
  CHECK(status.st_blocks * 512 < 32 << 20, "the hole was filled: %lld bytes on disk", (long long)status.st_blocks * 512);
  CHECK(status.st_ino == other.st_ino && status.st_dev == other.st_dev, "one file became two");
  CHECK(access(path, F_OK) == -1 && errno == ENOENT, "the unlinked name came back");
  char* found = calloc(1, kSize);
  CHECK_EQUAL(pread(second, found, kSize, 0), kSize);
  check_pattern("unlinked file", found, kSize, 5);
  CHECK_EQUAL(pread(first, found, 4, (64 << 20) - 1), 4);
  CHECK(!memcmp(found, "\0end", 4), "the end differs");
  CHECK_EQUAL(lseek(first, 0, SEEK_CUR), kSize);
  CHECK_EQUAL(lseek(second, 0, SEEK_CUR), 8000);
  CHECK_EQUAL(pwrite(first, "shared", 6, 100), 6);
  CHECK_EQUAL(pread(second, found, 6, 100), 6);
  CHECK(!memcmp(found, "shared", 6), "a write to one open is not seen by the other");
  return 0;
}
