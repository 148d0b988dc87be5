// After a fork, parent and child write to the same pages; each has its own contents, and pages neither wrote are still those of before.
// covers: memory-private
#include "check.h"

enum { kSize = 4 << 20 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fill_pattern(memory, kSize, 1);
  sleep_ms(60);
  const pid_t child = MUST(fork());
  if (child == 0) {
    fill_pattern(memory, kSize / 4, 2);
    mark("written");
    wait_released(0);
    check_pattern("the child's", memory, kSize / 4, 2);
    uint64_t* expected = malloc(kSize);
    fill_pattern(expected, kSize, 1);
    CHECK(memcmp(memory + kSize / 4, (char*)expected + kSize / 4, kSize / 4 * 3) == 0, "the rest in the child");
    _exit(0);
  }
  wait_mark("written");
  fill_pattern(memory + kSize / 2, kSize / 4, 3);
  checkpoint_here();
  check_pattern("the parent's", memory + kSize / 2, kSize / 4, 3);
  uint64_t* expected = malloc(kSize);
  fill_pattern(expected, kSize, 1);
  CHECK(memcmp(memory, expected, kSize / 2) == 0, "the first half in the parent");
  CHECK(memcmp(memory + kSize / 4 * 3, (char*)expected + kSize / 4 * 3, kSize / 4) == 0, "the rest in the parent");
  expect_child_passes(child);
  return 0;
}
