// A pipe whose read end is closed: writing raises SIGPIPE; poll says POLLERR.
// covers: descriptors
#include "check.h"
#include <poll.h>

static volatile sig_atomic_t broken;
static void on_broken_pipe(int number) {
  (void)number;
  broken = 1;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGPIPE, on_broken_pipe);
  int ends[2];
  MUST(pipe(ends));
  CHECK_EQUAL(write(ends[1], "lost", 4), 4);
  MUST(close(ends[0]));
  checkpoint_here();
  CHECK_EQUAL(broken, 0);
  struct pollfd polled = {ends[1], POLLOUT, 0};
  CHECK_EQUAL(poll(&polled, 1, 0), 1);
  CHECK(polled.revents & POLLERR, "poll says 0x%x", polled.revents);
  CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE, "the broken pipe can be written");
  CHECK_EQUAL(broken, 1);
  return 0;
}
