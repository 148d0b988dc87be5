// Private anonymous memory keeps its contents, and memory never written stays zero.
// covers: memory-private
#include "check.h"

enum { kSize = 8 << 20 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char* written = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* untouched = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(written != MAP_FAILED && untouched != MAP_FAILED, "mmap");
  char* heap = malloc(100000);
  fill_pattern(written, kSize, 1);
  fill_pattern(heap, 100000, 2);
  checkpoint_here();
  check_pattern("mapping", written, kSize, 1);
  check_pattern("heap", heap, 100000, 2);
  check_zero("untouched mapping", untouched, kSize);
  return 0;
}
