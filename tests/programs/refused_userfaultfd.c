// A process that uses userfaultfd itself is refused.
// refused: userfaultfd
#include "check.h"
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
  if (fd < 0) SKIP("no userfaultfd here");
  struct uffdio_api api = {.api = UFFD_API};
  MUST(ioctl(fd, UFFDIO_API, &api));
  char* memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct uffdio_register range = {.range = {(uintptr_t)memory, 1 << 16}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  MUST(ioctl(fd, UFFDIO_REGISTER, &range));
  checkpoint_here();
  char page[4096];
  memset(page, 7, sizeof page);
  struct uffdio_copy copy = {.dst = (uintptr_t)memory, .src = (uintptr_t)page, .len = sizeof page};
  MUST(ioctl(fd, UFFDIO_COPY, &copy));
  CHECK_EQUAL(memory[9], 7);
  return 0;
}
