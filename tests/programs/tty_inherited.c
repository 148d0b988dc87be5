// A child that was there before has the terminal in which its parent was started as its controlling one, too.
// covers: Process.has_group_terminal
// terminal: yes
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t child = MUST(fork());
  if (child == 0) {
    wait_released(0);
    const int fd = MUST(open("/dev/tty", O_RDWR | O_CLOEXEC));
    CHECK_EQUAL(tcgetpgrp(fd), getpgid(0));
    _exit(0);
  }
  checkpoint_here();
  expect_child_passes(child);
  return 0;
}
