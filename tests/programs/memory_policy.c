// The memory policy of a thread or of a mapping is refused by name.
// refused: (?i)polic
#include <linux/mempolicy.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  unsigned long nodes = 1;
  char* memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (syscall(SYS_mbind, memory, 1 << 16, MPOL_BIND, &nodes, 8, 0) == -1) SKIP("no memory policies here");
  MUST(syscall(SYS_set_mempolicy, MPOL_PREFERRED, &nodes, 8));
  fill_pattern(memory, 1 << 16, 1);
  checkpoint_here();
  int mode = -1;
  MUST(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0));
  CHECK_EQUAL(mode, MPOL_PREFERRED);
  MUST(syscall(SYS_get_mempolicy, &mode, NULL, 0, memory, MPOL_F_ADDR));
  CHECK_EQUAL(mode, MPOL_BIND);
  check_pattern("memory", memory, 1 << 16, 1);
  return 0;
}
