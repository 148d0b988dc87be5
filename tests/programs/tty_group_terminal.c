// The terminal in which the program was started has the settings that the program gave it, and the same foreground process group.
// covers: tty
// terminal: yes
#include "check.h"

#include <termios.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGTTOU, SIG_IGN);
  struct termios settings, seen;
  MUST(tcgetattr(STDIN_FILENO, &settings));
  settings.c_lflag &= ~(ECHO | ICANON);
  settings.c_cc[VINTR] = 7;
  MUST(tcsetattr(STDIN_FILENO, TCSANOW, &settings));
  const pid_t child = MUST(fork());
  if (child == 0) {
    MUST(setpgid(0, 0));
    mark("group");
    wait_released(0);
    _exit(0);
  }
  wait_mark("group");
  MUST(tcsetpgrp(STDIN_FILENO, child));
  checkpoint_here();
  CHECK_EQUAL(tcgetpgrp(STDIN_FILENO), child);
  MUST(tcgetattr(STDIN_FILENO, &seen));
  CHECK_EQUAL(seen.c_lflag, settings.c_lflag);
  CHECK_EQUAL(seen.c_cc[VINTR], 7);
  expect_child_passes(child);
  return 0;
}
