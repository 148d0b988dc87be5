// POSIX shared memory is what it was at the checkpoint, under its name, although it may have changed, or vanished in a reboot, since.
// covers: memory-shared
#include "check.h"

enum { kSize = 1 << 18 };

int main(int argc, char** argv) {
  begin(argc, argv);
  char name[64];
  snprintf(name, sizeof name, "/perdure-test-%d-%lld", getpid(), (long long)clock_now_ns(CLOCK_REALTIME));
  const int fd = MUST(shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600));
  MUST(ftruncate(fd, kSize));
  uint64_t* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  fill_pattern(memory, kSize - 4096, 1);
  // The last page changes all the time: what is there after the restore must be of the same instant as this count.
  volatile uint64_t* shared_count = memory + (kSize - 4096) / 8;
  volatile uint64_t* private_count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  announce_ready(0);
  while (!is_released(0)) {
    CHECK_EQUAL(*shared_count, *private_count);
    *private_count += 1;
    *shared_count += 1;
    sleep_ms(1);
  }
  check_pattern("mapping", memory, kSize - 4096, 1);
  const int again = MUST(shm_open(name, O_RDWR, 0));
  uint64_t word;
  CHECK_EQUAL(pread(again, &word, sizeof word, kSize - 4096), sizeof word);
  CHECK_EQUAL(word, *private_count);
  MUST(shm_unlink(name));
  return 0;
}
