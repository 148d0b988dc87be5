// A process whose addresses carry tags (linear address masking) is refused.
// refused: linear address masking
#include "check.h"

enum { kEnableTags = 0x4002, kTagBits = 6 };

int main(int argc, char** argv) {
  begin(argc, argv);
  if (syscall(SYS_arch_prctl, kEnableTags, kTagBits) == -1) SKIP("no linear address masking here");
  checkpoint_here();
  return 0;
}
