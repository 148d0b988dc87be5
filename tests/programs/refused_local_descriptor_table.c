// A process with a segment in a local descriptor table (modify_ldt) is refused.
// refused: local descriptor table
#include "check.h"

#include <asm/ldt.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  struct user_desc segment = {.entry_number = 1, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};
  enum { kWrite = 0x11 };
  if (syscall(SYS_modify_ldt, kWrite, &segment, sizeof segment) == -1) SKIP("no modify_ldt here");
  checkpoint_here();
  uint64_t table[2] = {0};
  CHECK_EQUAL(syscall(SYS_modify_ldt, 0, table, sizeof table), sizeof table);
  CHECK(table[1] != 0, "the segment is gone");
  return 0;
}
