// A memfd keeps its size, its seals, its name and its holes: what was punched out or cut off does not come back.
// covers: memfd
#include "check.h"

enum { kSize = 1 << 18 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(memfd_create("with holes", MFD_ALLOW_SEALING));
  MUST(ftruncate(fd, 4 * kSize));
  char* memory = mmap(NULL, 4 * kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  fill_pattern(memory, 4 * kSize, 1);
  sleep_ms(60);
  MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kSize, kSize));
  MUST(ftruncate(fd, 3 * kSize));
  MUST(ftruncate(fd, 4 * kSize));
  MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
  checkpoint_here();
  check_pattern("first part", memory, kSize, 1);
  check_zero("the hole", memory + kSize, kSize);
  check_zero("what was cut off", memory + 3 * kSize, kSize);
  CHECK_EQUAL(lseek(fd, 0, SEEK_END), 4 * kSize);
  CHECK_EQUAL(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK);
  char path[64], target[100] = "";
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  MUST(readlink(path, target, sizeof target - 1));
  CHECK(strcmp(target, "/memfd:with holes (deleted)") == 0, "its name is %s", target);
  return 0;
}
