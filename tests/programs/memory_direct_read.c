// Memory filled by O_DIRECT reads, whose data the device writes, has what the reads returned.
// covers: memory-private
// timeout: 60
#include "check.h"

enum { kBlock = 1 << 18, kBlocks = 16 };
static int fd;
static char* memory;
static int rounds;

static void read_all(void* argument) {
  (void)argument;
  rounds++;
  for (int block = 0; block < kBlocks; block++) {
    const int from = (block + rounds) % kBlocks;
    char* at = memory + block * kBlock;
    CHECK_EQUAL(pread(fd, at, kBlock, (off_t)from * kBlock), kBlock);
    check_pattern("a block just read", at, kBlock, from + 1);
  }
}

int main(int argc, char** argv) {
  begin(argc, argv);
  memory = mmap(NULL, kBlocks * kBlock, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int block = 0; block < kBlocks; block++) fill_pattern(memory + block * kBlock, kBlock, block + 1);
  fd = open(scratch_path("file"), O_CREAT | O_RDWR | O_DIRECT, 0600);
  if (fd == -1) SKIP("this file system has no O_DIRECT");
  CHECK_EQUAL(write(fd, memory, kBlocks * kBlock), kBlocks * kBlock);
  fsync(fd);
  checkpoint_while(read_all, NULL);
  for (int block = 0; block < kBlocks; block++) check_pattern("a block of the last round", memory + block * kBlock, kBlock, (block + rounds) % kBlocks + 1);
  read_all(NULL);
  return 0;
}
