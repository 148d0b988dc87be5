// Memory given back by MADV_DONTNEED after it had been in a checkpoint is zero if anonymous, and the file's contents if a private file mapping.
// covers: memory-private
#include "check.h"

enum { kSize = 1 << 19 };

int main(int argc, char** argv) {
  begin(argc, argv);
  static uint64_t contents[kSize / 8];
  fill_pattern(contents, kSize, 7);
  const int fd = MUST(open(scratch_path("file"), O_CREAT | O_RDWR, 0600));
  CHECK_EQUAL(write(fd, contents, kSize), kSize);
  char* anonymous = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* file = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(anonymous != MAP_FAILED && file != MAP_FAILED, "mmap");
  fill_pattern(anonymous, kSize, 1);
  fill_pattern(file, kSize, 2);
  sleep_ms(100);
  MUST(madvise(anonymous, kSize / 2, MADV_DONTNEED));
  MUST(madvise(file, kSize / 2, MADV_DONTNEED));
  checkpoint_here();
  check_zero("anonymous, given back", anonymous, kSize / 2);
  uint64_t expected[kSize / 16];
  fill_pattern(expected, kSize / 2, 7);
  CHECK(memcmp(file, expected, kSize / 2) == 0, "the file's contents did not come back");
  static uint64_t whole[kSize / 8];
  fill_pattern(whole, kSize, 1);
  CHECK(memcmp(anonymous + kSize / 2, (char*)whole + kSize / 2, kSize / 2) == 0, "the anonymous rest");
  fill_pattern(whole, kSize, 2);
  CHECK(memcmp(file + kSize / 2, (char*)whole + kSize / 2, kSize / 2) == 0, "the private rest");
  return 0;
}
