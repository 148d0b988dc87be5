// A mapped file of a hugetlbfs is refused.
// refused: hugetlbfs
#include "check.h"

#include <sys/mount.h>

enum { kSize = 2 << 20 };

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(mkdir(scratch_path("huge"), 0700));
  if (mount("huge", scratch_path("huge"), "hugetlbfs", 0, NULL) == -1) SKIP("no hugetlbfs here");
  const int fd = MUST(open(scratch_path("huge/file"), O_CREAT | O_RDWR, 0600));
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) SKIP("no huge pages here");
  memory[0] = 1;
  checkpoint_here();
  CHECK_EQUAL(memory[0], 1);
  return 0;
}
