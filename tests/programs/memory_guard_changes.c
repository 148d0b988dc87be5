// Guard markers that come and go between checkpoints are known as they are at the last, those of pages never touched too.
// covers: mappings, memory-private
// rounds: 2
// not-in: lazy (the kernel does not say that guard pages are put over memory which is still to come)
#include "check.h"

enum { kPageSize = 4096, kPages = 12, kGuardInstall = 102, kGuardRemove = 103 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char* memory = mmap(NULL, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fill_pattern(memory, kPages / 2 * kPageSize, 1);
  for (int page = 0; page < kPages; page += 2)
    if (madvise(memory + page * kPageSize, kPageSize, kGuardInstall) == -1) SKIP("no guard markers here");
  checkpoint_round(1);
  // Of each kind one in the half that was written to, and one in the other.
  MUST(madvise(memory + 2 * kPageSize, kPageSize, kGuardRemove));
  MUST(madvise(memory + 8 * kPageSize, kPageSize, kGuardRemove));
  MUST(madvise(memory + 3 * kPageSize, kPageSize, kGuardInstall));
  MUST(madvise(memory + 9 * kPageSize, kPageSize, kGuardInstall));
  checkpoint_round(2);
  for (int page = 0; page < kPages; page++) {
    const bool guarded = page == 3 || page == 9 || (page % 2 == 0 && page != 2 && page != 8);
    CHECK(faults(memory + page * kPageSize, true) == guarded, "page %d %s", page, guarded ? "is a guard no more" : "has become a guard");
  }
  check_zero("a page whose guard was taken away", memory + 2 * kPageSize, kPageSize);
  return 0;
}
