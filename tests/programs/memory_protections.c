// Mappings keep their protection, page by page, and code written into memory runs; the contents of PROT_NONE and read-only pages are kept.
// covers: mappings
#include "check.h"

enum { kPageSize = 4096, kPages = 16 };
int main(int argc, char** argv) {
  begin(argc, argv);
  char* memory = mmap(NULL, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fill_pattern(memory, kPages * kPageSize, 1);
  static const int kProtections[4] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};
  for (int page = 0; page < kPages; page++) {
    char* at = memory + page * kPageSize;
    // mov eax, 40 + page; ret
    if (page % 4 == 3) memcpy(at, (unsigned char[]){0xb8, 40 + page, 0, 0, 0, 0xc3}, 6);
    MUST(mprotect(at, kPageSize, kProtections[page % 4]));
  }
  checkpoint_here();
  for (int page = 0; page < kPages; page++) {
    char* at = memory + page * kPageSize;
    const int protection = kProtections[page % 4];
    CHECK_EQUAL(faults(at, false), protection == PROT_NONE);
    CHECK_EQUAL(faults(at, true), !(protection & PROT_WRITE));
    if (protection & PROT_EXEC) CHECK_EQUAL(((int (*)(void))at)(), 40 + page);
  }
  MUST(mprotect(memory, kPages * kPageSize, PROT_READ | PROT_WRITE));
  for (int page = 0; page < kPages; page++)
    if (page % 4 == 3) fill_pattern(memory + page * kPageSize, 8, 0);
  uint64_t expected[kPages * kPageSize / 8];
  fill_pattern(expected, sizeof expected, 1);
  for (int page = 0; page < kPages; page++)
    if (page % 4 != 3) CHECK(memcmp(memory + page * kPageSize, (char*)expected + page * kPageSize, kPageSize) == 0, "page %d", page);
  return 0;
}
