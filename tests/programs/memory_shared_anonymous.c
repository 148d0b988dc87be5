// Shared anonymous memory is shared between parent and child after the restore, pages only one of them has touched included.
// covers: memory-shared
#include "check.h"

enum { kSize = 1 << 20 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  fill_pattern(memory, kSize / 2, 1);
  const pid_t child = MUST(fork());
  if (child == 0) {
    fill_pattern(memory + kSize / 2, kSize / 4, 2);
    mark("filled");
    wait_released(0);
    check_pattern("the parent's", memory, kSize / 2, 1);
    fill_pattern(memory + kSize / 4 * 3, kSize / 4, 3);
    _exit(0);
  }
  wait_mark("filled");
  checkpoint_here();
  expect_child_passes(child);
  check_pattern("the child's from before", memory + kSize / 2, kSize / 4, 2);
  check_pattern("the child's from afterwards", memory + kSize / 4 * 3, kSize / 4, 3);
  return 0;
}
