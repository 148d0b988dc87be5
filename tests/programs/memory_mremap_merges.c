// Blocks are moved side by side, each becoming one mapping with the last, which is written to at once: the kernel takes the tracking from both.
// covers: memory-private
#include "check.h"

enum { kPage = 4096, kBlock = 8 * kPage, kBlocks = 24 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char* from = mmap(NULL, kBlocks * kBlock, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* to = mmap(NULL, kBlocks * kBlock, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(from != MAP_FAILED && to != MAP_FAILED, "mmap");
  fill_pattern(from, kBlocks * kBlock, 1);
  for (int block = 0; block < kBlocks; block++) {
    // Time for an epoch, in which what was written is found, and found unwritten from then on.
    sleep_ms(30);
    char* at = to + block * kBlock;
    CHECK(mremap(from + block * kBlock, kBlock, kBlock, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at, "mremap");
    fill_pattern(at, kBlock / 2, 100 + block);
    if (block > 0) fill_pattern(at - kBlock / 2, kBlock / 2, 200 + block - 1);
  }
  checkpoint_here();
  for (int block = 0; block < kBlocks; block++) {
    check_pattern("moved", to + block * kBlock, kBlock / 2, 100 + block);
    if (block + 1 < kBlocks) check_pattern("beside what was moved", to + block * kBlock + kBlock / 2, kBlock / 2, 200 + block);
  }
  return 0;
}
