// A process with memory that the kernel may drop when it runs short (MAP_DROPPABLE) is refused.
// refused: cannot track writes
#include "check.h"

enum { kDroppable = 0x08, kSize = 1 << 16 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | kDroppable, -1, 0);
  if (memory == MAP_FAILED) SKIP("no droppable memory here");
  memory[5] = 7;
  checkpoint_here();
  CHECK(memory[5] == 7 || memory[5] == 0, "the memory holds %d", memory[5]);
  return 0;
}
