// Mappings, private and shared, of a file that has been deleted keep its contents, and two of them still share it.
// covers: deleted-file
#include "check.h"

enum { kSize = 1 << 17 };

int main(int argc, char** argv) {
  begin(argc, argv);
  static uint64_t contents[kSize / 8];
  fill_pattern(contents, kSize, 7);
  const int fd = MUST(open(scratch_path("file"), O_CREAT | O_RDWR, 0600));
  CHECK_EQUAL(write(fd, contents, kSize), kSize);
  char* first = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* second = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* private = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  close(fd);
  MUST(unlink(scratch_path("file")));
  fill_pattern(first, kSize / 4, 1);
  fill_pattern(private + kSize / 2, kSize / 4, 2);
  checkpoint_here();
  check_pattern("shared, written", second, kSize / 4, 1);
  CHECK(memcmp(second + kSize / 4, (char*)contents + kSize / 4, kSize - kSize / 4) == 0, "shared, not written");
  check_pattern("private, written", private + kSize / 2, kSize / 4, 2);
  fill_pattern(second, 4096, 3);
  check_pattern("shared, written after the restore", first, 4096, 3);
  CHECK(access(scratch_path("file"), F_OK) == -1, "the file is back");
  return 0;
}
