// A process that uses io_uring is refused.
// refused: io_uring
#include "check.h"
#include <linux/io_uring.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  struct io_uring_params parameters = {0};
  const int fd = (int)syscall(SYS_io_uring_setup, 8, &parameters);
  if (fd < 0) SKIP("no io_uring here");
  const size_t size = parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned);
  void* ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
  CHECK(ring != MAP_FAILED, "mmap of the ring");
  checkpoint_here();
  CHECK_EQUAL(syscall(SYS_io_uring_enter, fd, 0, 0, 0, NULL, 0), 0);
  return 0;
}
