// A process with a context for asynchronous input and output (io_setup) is refused.
// refused: (?i)io_setup|aio
#include "check.h"

#include <linux/aio_abi.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  aio_context_t context = 0;
  if (syscall(SYS_io_setup, 8, &context) == -1) SKIP("no io_setup here");
  checkpoint_here();
  struct io_event event;
  struct timespec no_time = {0, 0};
  CHECK_EQUAL(syscall(SYS_io_getevents, context, 0, 1, &event, &no_time), 0);
  MUST(syscall(SYS_io_destroy, context));
  return 0;
}
