// A mapped memfd that is changed by pwrite(), not through the mapping, has the newest contents; one that is not mapped too.
// covers: memfd
#include "check.h"

enum { kSize = 1 << 18 };

int main(int argc, char** argv) {
  begin(argc, argv);
  static uint64_t contents[kSize / 8];
  const int mapped = MUST(memfd_create("mapped", 0)), unmapped = MUST(memfd_create("unmapped", 0));
  MUST(ftruncate(mapped, kSize));
  MUST(ftruncate(unmapped, 3 * kSize));
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
  fill_pattern(memory, kSize, 1);
  sleep_ms(60);
  fill_pattern(contents, kSize, 2);
  CHECK_EQUAL(pwrite(mapped, contents, kSize / 2, 0), kSize / 2);
  CHECK_EQUAL(pwrite(unmapped, contents, kSize, kSize), kSize);
  checkpoint_here();
  check_pattern("mapped", memory, kSize / 2, 2);
  static uint64_t read_back[3 * kSize / 8];
  CHECK_EQUAL(pread(unmapped, read_back, sizeof read_back, 0), 3 * kSize);
  check_zero("a hole", read_back, kSize);
  check_pattern("unmapped", read_back + kSize / 8, kSize, 2);
  return 0;
}
