// A thread that may not execute CPUID (ARCH_SET_CPUID) may not after the restore either, or is refused by name.
// refusal: (?i)cpuid
#include "check.h"

enum { kGetCpuid = 0x1011, kSetCpuid = 0x1012 };

int main(int argc, char** argv) {
  begin(argc, argv);
  if (syscall(SYS_arch_prctl, kSetCpuid, 0) == -1) SKIP("this processor cannot deny CPUID");
  checkpoint_here();
  CHECK_EQUAL(syscall(SYS_arch_prctl, kGetCpuid, 0), 0);
  return 0;
}
