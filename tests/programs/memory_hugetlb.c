// Memory from the pool of huge pages (MAP_HUGETLB), private and shared, keeps its contents.
// covers: memory-private
#include "check.h"

enum { kHuge = 2 << 20 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char* private = mmap(NULL, 2 * kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  char* shared = mmap(NULL, kHuge, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (private == MAP_FAILED || shared == MAP_FAILED) SKIP("no huge pages in the pool");
  fill_pattern(private, kHuge, 1);
  fill_pattern(shared, kHuge, 2);
  sleep_ms(60);
  fill_pattern(private + kHuge, kHuge, 3);
  checkpoint_here();
  check_pattern("private", private, kHuge, 1);
  check_pattern("private, second", private + kHuge, kHuge, 3);
  check_pattern("shared", shared, kHuge, 2);
  return 0;
}
