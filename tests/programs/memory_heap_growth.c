// The heap that brk() moves can be grown and shrunk further after the restore, from where it was.
// covers: mappings
#include "check.h"

enum { kSize = 1 << 20 };

int main(int argc, char** argv) {
  begin(argc, argv);
  sleep_ms(30);
  char* first = sbrk(kSize);
  CHECK(first != (void*)-1, "sbrk");
  fill_pattern(first, kSize, 1);
  sleep_ms(30);
  char* second = sbrk(kSize);
  fill_pattern(second, kSize, 2);
  void* end = sbrk(0);
  checkpoint_here();
  CHECK(sbrk(0) == end, "the heap ends at %p, not %p", sbrk(0), end);
  check_pattern("first", first, kSize, 1);
  check_pattern("second", second, kSize, 2);
  char* third = sbrk(kSize);
  CHECK(third == end, "the heap grew at %p, not %p", (void*)third, end);
  check_zero("new heap", third, kSize);
  CHECK(sbrk(-2 * kSize) != (void*)-1, "sbrk shrinks");
  return 0;
}
