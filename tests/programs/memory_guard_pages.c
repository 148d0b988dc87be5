// Guard markers set by MADV_GUARD_INSTALL still catch accesses, and their neighbours still work.
// covers: mappings
#include "check.h"

enum { kPageSize = 4096, kPages = 9, kGuardInstall = 102, kGuardRemove = 103 };
int main(int argc, char** argv) {
  begin(argc, argv);
  char* memory = mmap(NULL, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fill_pattern(memory, kPages * kPageSize, 1);
  for (int page = 1; page < kPages; page += 3)
    if (madvise(memory + page * kPageSize, kPageSize, kGuardInstall) == -1) SKIP("no guard markers here");
  checkpoint_here();
  for (int page = 0; page < kPages; page++) CHECK_EQUAL(faults(memory + page * kPageSize, true), page % 3 == 1);
  MUST(madvise(memory, kPages * kPageSize, kGuardRemove));
  for (int page = 0; page < kPages; page++) CHECK_EQUAL(faults(memory + page * kPageSize, true), 0);
  check_zero("a page that had been guarded", memory + kPageSize, kPageSize);
  return 0;
}
