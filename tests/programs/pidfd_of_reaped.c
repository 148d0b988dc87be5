// A pidfd of a child that was waited for before the checkpoint stays that of a dead process.
// covers: pidfd
#include "check.h"
#include <poll.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t child = MUST(fork());
  if (child == 0) _exit(0);
  const int fd = MUST(syscall(SYS_pidfd_open, child, 0));
  expect_child_passes(child);
  checkpoint_here();
  struct pollfd polled = {fd, POLLIN, 0};
  CHECK_EQUAL(poll(&polled, 1, 0), 1);
  CHECK(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == -1 && errno == ESRCH, "a dead process takes signals");
  siginfo_t information;
  CHECK(waitid((idtype_t)3, fd, &information, WEXITED) == -1 && errno == ECHILD, "a dead process can be waited for");
  return 0;
}
