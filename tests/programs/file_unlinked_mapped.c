// An unlinked file that is held by a shared mapping alone (its descriptor closed) keeps what was stored through the mapping.
// covers: deleted-file
#include "check.h"

enum { kSize = 1 << 20 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("file");
  const int fd = MUST(open(path, O_RDWR | O_CREAT, 0600));
  MUST(ftruncate(fd, kSize));
  char* shared = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* reader = mmap(NULL, kSize, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(shared != MAP_FAILED && reader != MAP_FAILED, "mmap");
  MUST(close(fd));
  MUST(unlink(path));
  fill_pattern(shared, kSize, 6);
  checkpoint_here();
  check_pattern("mapping", shared, kSize, 6);
  check_pattern("second mapping", reader, kSize, 6);
  shared[5000] = 'x';
  CHECK_EQUAL(reader[5000], 'x');
  return 0;
}
