// A shared mapping of a file is one after the restore: contents as before, and what is written through it is in the file.
// covers: mappings
#include "check.h"

enum { kSize = 1 << 18 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(open(scratch_path("file"), O_CREAT | O_RDWR, 0600));
  MUST(ftruncate(fd, kSize));
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(memory != MAP_FAILED, "mmap");
  fill_pattern(memory, kSize, 1);
  checkpoint_here();
  check_pattern("mapping", memory, kSize, 1);
  fill_pattern(memory, kSize / 2, 2);
  static uint64_t read_back[kSize / 8];
  CHECK_EQUAL(pread(fd, read_back, kSize, 0), kSize);
  check_pattern("file", read_back, kSize / 2, 2);
  CHECK_EQUAL(pwrite(fd, "hello", 5, 100), 5);
  CHECK(memcmp(memory + 100, "hello", 5) == 0, "the mapping does not show what is written to the file");
  return 0;
}
