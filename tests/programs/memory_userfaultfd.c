// A process that uses userfaultfd() itself is refused by name, and goes on handling its faults.
// refused: userfaultfd
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include "check.h"

static int uffd;
static char* memory;

static void* handle(void* argument) {
  (void)argument;
  static char page[4096] __attribute__((aligned(4096)));
  struct uffd_msg message;
  CHECK_EQUAL(read(uffd, &message, sizeof message), sizeof message);
  memset(page, 77, sizeof page);
  struct uffdio_copy copy = {.dst = message.arg.pagefault.address & ~4095ull, .src = (uintptr_t)page, .len = 4096};
  MUST(ioctl(uffd, UFFDIO_COPY, &copy));
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
  if (uffd == -1) SKIP("no userfaultfd here");
  struct uffdio_api api = {.api = UFFD_API};
  MUST(ioctl(uffd, UFFDIO_API, &api));
  memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct uffdio_register range = {.range = {(uintptr_t)memory, 8192}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  MUST(ioctl(uffd, UFFDIO_REGISTER, &range));
  checkpoint_here();
  pthread_t thread = start_thread(handle, NULL);
  CHECK_EQUAL(*(volatile char*)(memory + 4100), 77);
  pthread_join(thread, NULL);
  return 0;
}
