// A mapping sealed by mseal() is sealed after the restore, with its contents.
#include "check.h"

enum { kMseal = 462 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char* memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fill_pattern(memory, 1 << 16, 1);
  if (syscall(kMseal, memory, 1 << 16, 0) == -1) SKIP("no mseal here");
  checkpoint_here();
  check_pattern("memory", memory, 1 << 16, 1);
  memory[0] = 1;
  CHECK(munmap(memory, 1 << 16) == -1 && errno == EPERM, "not sealed any more");
  return 0;
}
