// A memfd mapped by two processes, at different places and offsets, is one piece of memory for both after the restore.
// covers: memory-shared, memfd
#include "check.h"

enum { kSize = 1 << 20 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(memfd_create("shared", MFD_CLOEXEC));
  MUST(ftruncate(fd, kSize));
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  fill_pattern(memory, kSize, 1);
  const pid_t child = MUST(fork());
  if (child == 0) {
    munmap(memory, kSize);
    volatile char* half = mmap(NULL, kSize / 2, PROT_READ | PROT_WRITE, MAP_SHARED, fd, kSize / 2);
    half[10] = 99;
    mark("mapped");
    while (half[11] != 98) sleep_ms(2);
    half[12] = 97;
    _exit(0);
  }
  wait_mark("mapped");
  checkpoint_here();
  check_pattern("memfd", memory, kSize / 2, 1);
  CHECK_EQUAL(memory[kSize / 2 + 10], 99);
  memory[kSize / 2 + 11] = 98;
  expect_child_passes(child);
  CHECK_EQUAL(memory[kSize / 2 + 12], 97);
  char byte;
  CHECK_EQUAL(pread(fd, &byte, 1, kSize / 2 + 12), 1);
  CHECK_EQUAL(byte, 97);
  return 0;
}
