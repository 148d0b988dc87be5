// A thread with a shadow stack is refused.
// refused: shadow stack
#include "check.h"

enum { kEnable = 0x5001, kShadowStack = 1 };

/// In line: from a function that was called before there was a shadow stack nobody could return.
static inline __attribute__((always_inline)) long enable(void) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_arch_prctl), "D"(kEnable), "S"(kShadowStack) : "rcx", "r11", "memory");
  return result;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  if (enable() != 0) SKIP("no shadow stacks here");
  checkpoint_here();
  _exit(0);
}
