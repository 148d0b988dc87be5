// A place that was unmapped and mapped anew within one epoch shows the new mapping's contents, zero where it was not written.
// covers: memory-private
#include "check.h"

enum { kSize = 1 << 20 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fill_pattern(memory, kSize, 1);
  sleep_ms(60);
  MUST(munmap(memory, kSize));
  CHECK(mmap(memory, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory, "mmap");
  fill_pattern(memory + kSize / 2, kSize / 4, 2);
  checkpoint_here();
  check_zero("not written", memory, kSize / 2);
  check_pattern("written", memory + kSize / 2, kSize / 4, 2);
  check_zero("not written", memory + kSize / 4 * 3, kSize / 4);
  return 0;
}
