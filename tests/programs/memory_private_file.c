// A private mapping of a file shows what the program wrote to it, and elsewhere the file; the file itself does not change.
// covers: memory-private
#include "check.h"

enum { kSize = 1 << 18 };

int main(int argc, char** argv) {
  begin(argc, argv);
  static uint64_t contents[kSize / 8], read_back[kSize / 8];
  fill_pattern(contents, kSize, 7);
  const int fd = MUST(open(scratch_path("file"), O_CREAT | O_RDWR, 0600));
  CHECK_EQUAL(write(fd, contents, kSize), kSize);
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  char* tail = mmap(NULL, kSize / 2, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, kSize / 2);
  fill_pattern(memory, kSize / 4, 8);
  fill_pattern(tail + kSize / 4, 4096, 9);
  checkpoint_here();
  check_pattern("written", memory, kSize / 4, 8);
  CHECK(memcmp(memory + kSize / 4, (char*)contents + kSize / 4, kSize - kSize / 4) == 0, "not written");
  check_pattern("written in the second half", tail + kSize / 4, 4096, 9);
  CHECK(memcmp(tail, (char*)contents + kSize / 2, kSize / 4) == 0, "not written in the second half");
  CHECK_EQUAL(pread(fd, read_back, kSize, 0), kSize);
  CHECK(memcmp(contents, read_back, kSize) == 0, "the file has changed");
  return 0;
}
