// A private mapping of a memfd whose changed pages are given back by MADV_DONTNEED shows the memfd's contents again.
// covers: memory-private
#include "check.h"

enum { kSize = 1 << 18 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(memfd_create("backing", 0));
  MUST(ftruncate(fd, kSize));
  char* shared = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* private = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  fill_pattern(shared, kSize, 5);
  fill_pattern(private, kSize, 6);
  sleep_ms(100);
  MUST(madvise(private, kSize, MADV_DONTNEED));
  checkpoint_here();
  check_pattern("private mapping", private, kSize, 5);
  fill_pattern(private, kSize, 6);
  check_pattern("shared mapping", shared, kSize, 5);
  return 0;
}
