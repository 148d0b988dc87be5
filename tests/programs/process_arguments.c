// What /proc tells of how the program was started comes back: arguments, environment, auxiliary vector.
// covers: AddressSpace.arg_start, AddressSpace.env_start, AddressSpace.auxv
#include "check.h"

static const char* const files[] = {"/proc/self/cmdline", "/proc/self/environ", "/proc/self/auxv"};
enum { kCount = sizeof files / sizeof *files, kSizeLimit = 1 << 16 };

static size_t read_all(const char* path, char* text) {
  const int fd = MUST(open(path, O_RDONLY | O_CLOEXEC));
  const size_t size = MUST(read(fd, text, kSizeLimit));
  MUST(close(fd));
  return size;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  static char before[kCount][kSizeLimit], after[kSizeLimit];
  size_t sizes[kCount];
  for (int i = 0; i < kCount; i++) sizes[i] = read_all(files[i], before[i]);
  CHECK(sizes[0] > 0 && sizes[2] > 0, "%zu bytes of arguments, %zu of the auxiliary vector", sizes[0], sizes[2]);
  checkpoint_here();
  for (int i = 0; i < kCount; i++) {
    CHECK_EQUAL(read_all(files[i], after), sizes[i]);
    CHECK(memcmp(before[i], after, sizes[i]) == 0, "%s differs", files[i]);
  }
  return 0;
}
