// A mapping of 64 GB of which a few pages are written costs those pages only, and each is in its place.
// covers: memory-private
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const size_t size = 64ull << 30, step = 997ull << 20;
  char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) SKIP("no address space of 64 GB");
  madvise(memory, size, MADV_NOHUGEPAGE);
  for (size_t at = 0; at < size; at += step) *(size_t*)(memory + at) = at + 1;
  checkpoint_here();
  for (size_t at = 0; at < size; at += step) {
    CHECK_EQUAL(*(size_t*)(memory + at), at + 1);
    if (at + 8192 < size) CHECK_EQUAL(*(size_t*)(memory + at + 8192), 0);
  }
  return 0;
}
