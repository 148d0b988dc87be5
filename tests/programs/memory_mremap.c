// Memory that was grown, shrunk and moved by mremap() between checkpoints has its contents where they are now, and can be moved again.
// covers: memory-private
#include "check.h"

enum { kSize = 1 << 20 };

static char* map(size_t size) {
  char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED, "mmap");
  return memory;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  char *moved = map(kSize), *grown = map(kSize), *shrunk = map(kSize), *target = map(4 * kSize);
  fill_pattern(moved, kSize, 1);
  fill_pattern(grown, kSize, 2);
  fill_pattern(shrunk, kSize, 3);
  sleep_ms(50);
  moved = mremap(moved, kSize, kSize, MREMAP_MAYMOVE | MREMAP_FIXED, target + kSize);
  CHECK(moved == target + kSize, "mremap moves");
  moved[0] ^= 0;
  grown = mremap(grown, kSize, 2 * kSize, MREMAP_MAYMOVE);
  CHECK(grown != MAP_FAILED, "mremap grows");
  fill_pattern(grown + kSize, kSize, 4);
  shrunk = mremap(shrunk, kSize, kSize / 2, 0);
  CHECK(shrunk != MAP_FAILED, "mremap shrinks");
  checkpoint_here();
  check_pattern("moved", moved, kSize, 1);
  check_pattern("grown, old part", grown, kSize, 2);
  check_pattern("grown, new part", grown + kSize, kSize, 4);
  check_pattern("shrunk", shrunk, kSize / 2, 3);
  grown = mremap(grown, 2 * kSize, 4 * kSize, MREMAP_MAYMOVE);
  CHECK(grown != MAP_FAILED, "mremap grows again");
  check_pattern("grown again", grown + kSize, kSize, 4);
  check_zero("the newest part", grown + 2 * kSize, 2 * kSize);
  return 0;
}
