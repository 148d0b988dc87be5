// Memfds: contents written and mapped, size, holes, name, seals, two opens of one, one shared with a child.
// covers: memfd
#include "check.h"

enum { kSize = 1 << 20 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const int written = MUST(memfd_create("written", MFD_CLOEXEC));
  const int mapped = MUST(memfd_create("mapped", MFD_ALLOW_SEALING));
  const int sealed = MUST(memfd_create("sealed", MFD_ALLOW_SEALING));
  char* pattern = malloc(kSize);
  fill_pattern(pattern, kSize, 1);
  CHECK_EQUAL(write(written, pattern, kSize), kSize);
  CHECK_EQUAL(pwrite(written, "end", 3, 32 << 20), 3);
  MUST(ftruncate(mapped, kSize));
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
  CHECK(memory != MAP_FAILED, "mmap");
  fill_pattern(memory, kSize, 2);
  CHECK_EQUAL(write(sealed, "wax", 3), 3);
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  MUST(fcntl(sealed, F_ADD_SEALS, seals));
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", written);
  const int reopened = MUST(open(path, O_RDONLY));
  const pid_t child = MUST(fork());
  if (child == 0) {
    wait_released(0);
    while (*(volatile char*)memory != 'p') sleep_ms(1);
    memory[1] = 'c';
    _exit(0);
  }
  checkpoint_here();
  char* found = malloc(kSize);
  CHECK_EQUAL(read(reopened, found, kSize), kSize);
  check_pattern("written memfd", found, kSize, 1);
  CHECK_EQUAL(pread(reopened, found, 8, 32 << 20), 3);
  struct stat status, other;
  MUST(fstat(written, &status));
  MUST(fstat(reopened, &other));
  CHECK_EQUAL(status.st_ino, other.st_ino);
  CHECK_EQUAL(status.st_size, (32 << 20) + 3);
  CHECK(status.st_blocks * 512 < 8 << 20, "the hole was filled: %lld bytes", (long long)status.st_blocks * 512);
  CHECK_EQUAL(lseek(written, 0, SEEK_CUR), kSize);
  CHECK_EQUAL(MUST(fcntl(written, F_GETFD)), FD_CLOEXEC);
  CHECK_EQUAL(MUST(fcntl(written, F_GET_SEALS)), F_SEAL_SEAL);
  check_pattern("mapped memfd", memory, kSize, 2);
  CHECK_EQUAL(pread(mapped, found, kSize, 0), kSize);
  check_pattern("mapped memfd, read", found, kSize, 2);
  memory[0] = 'p';
  expect_child_passes(child);
  CHECK_EQUAL(memory[1], 'c');
  CHECK_EQUAL(MUST(fcntl(sealed, F_GET_SEALS)), seals);
  CHECK(pwrite(sealed, "x", 1, 0) == -1 && errno == EPERM, "the sealed memfd can be written");
  CHECK_EQUAL(pread(sealed, found, 8, 0), 3);
  CHECK(!memcmp(found, "wax", 3), "the sealed memfd's contents differ");
  char target[128] = "";
  MUST(readlink(path, target, sizeof target - 1));
  CHECK(!strcmp(target, "/memfd:written (deleted)"), "the memfd's name is %s", target);
  return 0;
}
