// Each page given back by MADV_FREE reads as what it held or as zero, never as anything else; pages written again keep that.
// covers: memory-private
#include "check.h"

enum { kSize = 1 << 19, kPageSize = 4096 };

int main(int argc, char** argv) {
  begin(argc, argv);
  uint64_t* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(memory, kSize, MADV_NOHUGEPAGE);
  fill_pattern(memory, kSize, 1);
  sleep_ms(60);
  MUST(madvise(memory, kSize, MADV_FREE));
  for (size_t page = 0; page < kSize / kPageSize; page += 2) memory[page * 512 + 3] = page + 1;
  checkpoint_here();
  static uint64_t expected[kSize / 8];
  fill_pattern(expected, kSize, 1);
  for (size_t page = 0; page < kSize / kPageSize; page++) {
    const uint64_t* words = memory + page * 512;
    if (page % 2 == 0) CHECK_EQUAL(words[3], page + 1);
    const bool zero = words[0] == 0 && words[511] == 0;
    const bool kept = words[0] == expected[page * 512] && words[511] == expected[page * 512 + 511];
    CHECK(zero || kept, "page %zu: 0x%llx", page, (unsigned long long)words[0]);
  }
  return 0;
}
