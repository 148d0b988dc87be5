// Transparent huge pages keep their contents, those written in part after a checkpoint too. A process stays without
// those that it has not advised (PR_SET_THP_DISABLE).
// covers: memory-private, prctl
#include <sys/prctl.h>

#include "check.h"

enum { kHuge = 2 << 20, kCount = 6, kExceptAdvised = 2 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char* around = mmap(NULL, (kCount + 1) * kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* memory = (char*)(((uintptr_t)around + kHuge - 1) & ~(uintptr_t)(kHuge - 1));
  if (madvise(memory, kCount * kHuge, MADV_HUGEPAGE) == -1) SKIP("no transparent huge pages here");
  for (int i = 0; i < kCount - 1; i++) fill_pattern(memory + i * kHuge, kHuge, i + 1);
  sleep_ms(60);
  for (int i = 0; i < kCount - 1; i += 2) fill_pattern(memory + i * kHuge + 8192, 4096, 100 + i);
  // Linux 6.18 has the flag.
  const bool has_flag = prctl(PR_SET_THP_DISABLE, 1, kExceptAdvised, 0, 0) == 0;
  if (!has_flag) MUST(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
  checkpoint_here();
  CHECK_EQUAL(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), has_flag ? 1 | kExceptAdvised : 1);
  static uint64_t expected[kHuge / 8];
  for (int i = 0; i < kCount - 1; i++) {
    fill_pattern(expected, kHuge, i + 1);
    if (i % 2 == 0) fill_pattern((char*)expected + 8192, 4096, 100 + i);
    CHECK(memcmp(memory + i * kHuge, expected, kHuge) == 0, "huge page %d", i);
  }
  check_zero("a huge page never written", memory + (kCount - 1) * kHuge, kHuge);
  return 0;
}
