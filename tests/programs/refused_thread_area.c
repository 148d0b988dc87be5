// A thread with a 32-bit thread area (set_thread_area) is refused.
// refused: set_thread_area
#include "check.h"

#include <asm/ldt.h>

enum { kSetThreadArea32 = 243 };

int main(int argc, char** argv) {
  begin(argc, argv);
  struct user_desc* segment = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  CHECK(segment != MAP_FAILED, "mmap");
  *segment = (struct user_desc){.entry_number = -1u, .base_addr = 0x1000, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};
  // 64-bit programs have this call in the 32-bit interface only.
  long result = kSetThreadArea32;
  __asm__ volatile("int $0x80" : "+a"(result) : "b"(segment) : "memory", "r8", "r9", "r10", "r11");
  if (result != 0) SKIP("no 32-bit system calls here");
  checkpoint_here();
  return 0;
}
