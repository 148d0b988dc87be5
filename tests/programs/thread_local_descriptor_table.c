// An entry of the x86 local descriptor table that a program made is refused by name, and stays.
// refused: (?i)ldt|descriptor table
#include <asm/ldt.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  struct user_desc entry = {.entry_number = 3, .base_addr = 0x12345000, .limit = 0xfff, .seg_32bit = 1, .useable = 1};
  if (syscall(SYS_modify_ldt, 1, &entry, sizeof entry) == -1) SKIP("no modify_ldt here");
  uint64_t before[16] = {0}, after[16] = {0};
  const int size = MUST(syscall(SYS_modify_ldt, 0, before, sizeof before));
  checkpoint_here();
  CHECK_EQUAL(syscall(SYS_modify_ldt, 0, after, sizeof after), size);
  CHECK(memcmp(before, after, sizeof before) == 0, "entry 3 is 0x%llx, not 0x%llx", (unsigned long long)after[3], (unsigned long long)before[3]);
  return 0;
}
