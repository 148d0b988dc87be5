// Two mappings made one after the other, side by side, have become one as always, and mremap() moves them as one, now and after the restore.
// covers: memory-private
#include "check.h"

enum { kHalf = 1 << 18 };

static char* make_pair(uint64_t seed) {
  char* memory = mmap(NULL, 2 * kHalf, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int half = 0; half < 2; half++) {
    char* at = mmap(memory + half * kHalf, kHalf, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(at == memory + half * kHalf, "mmap");
    fill_pattern(at, kHalf, seed + half);
    // Time for an epoch, in which the first half is registered for tracking and the second does not exist yet.
    sleep_ms(30);
  }
  return memory;
}

static void move_pair(char* memory, uint64_t seed) {
  char* moved = mremap(memory, 2 * kHalf, 3 * kHalf, MREMAP_MAYMOVE);
  CHECK(moved != MAP_FAILED, "mremap over both");
  check_pattern("first half", moved, kHalf, seed);
  check_pattern("second half", moved + kHalf, kHalf, seed + 1);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  char* kept = make_pair(10);
  move_pair(make_pair(20), 20);
  checkpoint_here();
  move_pair(kept, 10);
  return 0;
}
