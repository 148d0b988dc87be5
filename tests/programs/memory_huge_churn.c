// Huge pages that are written to in part, given back in part and collapsed again while checkpoints are taken keep what was last written.
// covers: memory-private
#include "check.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { kHuge = 2 << 20, kPage = 4096, kCount = 3, kPages = kCount * kHuge / kPage };

static char* memory;
static unsigned char expected[kPages];  // each page is full of one number
static unsigned seed = 1;

static void fill(int page, int count) {
  const unsigned char value = (unsigned char)(1 + rand_r(&seed) % 255);
  for (int i = page; i < page + count && i < kPages; i++) {
    memset(memory + (size_t)i * kPage, value, kPage);
    expected[i] = value;
  }
}

static void give_back(int page, int count) {
  if (count > kPages - page) count = kPages - page;
  CHECK(madvise(memory + (size_t)page * kPage, (size_t)count * kPage, MADV_DONTNEED) == 0, "cannot give pages back");
  memset(expected + page, 0, (size_t)count);
}

static void churn(int64_t milliseconds) {
  for (const int64_t end = monotonic_ms() + milliseconds; monotonic_ms() < end;) {
    const int page = rand_r(&seed) % kPages;
    switch (rand_r(&seed) % 12) {
      case 0: give_back(page, 1 + rand_r(&seed) % 300); break;
      case 1: give_back(page / 512 * 512, 512); break;
      case 2: fill(page / 512 * 512, 512); break;
      case 3: (void)madvise(memory + (size_t)(page / 512) * kHuge, kHuge, MADV_COLLAPSE); break;
      case 4: sleep_ms(1); break;
      default: fill(page, 1 + rand_r(&seed) % 4);
    }
  }
}

static void compare(const char* when) {
  for (int page = 0; page < kPages; page++) {
    for (int at = 0; at < kPage; at++) {
      const unsigned char found = (unsigned char)memory[(size_t)page * kPage + (size_t)at];
      CHECK(found == expected[page], "%s: page %d, byte %d is %d, not %d", when, page, at, found, expected[page]);
    }
  }
}

int main(int argc, char** argv) {
  begin(argc, argv);
  char* around = mmap(NULL, (kCount + 1) * kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memory = (char*)(((uintptr_t)around + kHuge - 1) & ~(uintptr_t)(kHuge - 1));
  if (madvise(memory, kCount * kHuge, MADV_HUGEPAGE) == -1) SKIP("no transparent huge pages here");
  churn(400);
  checkpoint_here();
  compare("after the checkpoint");
  churn(100);
  compare("going on");
  return 0;
}
