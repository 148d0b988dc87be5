// Memory marked MADV_WIPEONFORK is kept by a restore and wiped in a child forked afterwards.
// covers: memory-private
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  char* memory = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(madvise(memory, 65536, MADV_WIPEONFORK));
  fill_pattern(memory, 65536, 1);
  checkpoint_here();
  check_pattern("memory", memory, 65536, 1);
  const pid_t child = MUST(fork());
  if (child == 0) {
    check_zero("memory in the child", memory, 65536);
    _exit(0);
  }
  expect_child_passes(child);
  return 0;
}
