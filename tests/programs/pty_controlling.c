// A session with a pseudo-terminal as its controlling terminal: foreground group, ^C, /dev/tty, hangup.
// covers: terminal
#include "check.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

static volatile sig_atomic_t interrupted, hung_up;
static void on_signal(int number) {
  if (number == SIGINT) interrupted = 1;
  if (number == SIGHUP) hung_up = 1;
}

static void in_session(int terminal) {
  signal(SIGINT, on_signal);
  signal(SIGHUP, on_signal);
  signal(SIGTTOU, SIG_IGN);
  const pid_t job = MUST(fork());
  if (job == 0) {
    MUST(setpgid(0, 0));
    mark("job");
    while (!interrupted) usleep(1000);
    MUST(open("/dev/tty", O_RDWR));  // inherited from the session's leader
    _exit(0);
  }
  wait_mark("job");
  MUST(tcsetpgrp(terminal, job));
  mark("session");
  wait_released(0);
  CHECK_EQUAL(tcgetsid(terminal), getpid());
  CHECK_EQUAL(tcgetpgrp(terminal), job);
  expect_child_passes(job);  // ends by the ^C
  CHECK_EQUAL(interrupted, 0);
  const int tty = MUST(open("/dev/tty", O_RDWR));
  CHECK_EQUAL(tcgetsid(tty), getpid());
  MUST(tcsetpgrp(tty, getpid()));
  CHECK_EQUAL(write(tty, "through /dev/tty", 16), 16);
  mark("written");
  while (!hung_up) usleep(1000);
  _exit(0);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  int master, terminal;
  MUST(openpty(&master, &terminal, NULL, NULL, NULL));
  const pid_t session = MUST(fork());
  if (session == 0) {
    MUST(setsid());
    MUST(ioctl(terminal, TIOCSCTTY, 0));
    MUST(close(master));
    in_session(terminal);
  }
  MUST(close(terminal));
  wait_mark("session");
  checkpoint_here();
  CHECK_EQUAL(write(master, "\003", 1), 1);
  wait_mark("written");
  char text[64] = "";
  for (ssize_t length = 0; !strstr(text, "through /dev/tty");) {
    const ssize_t got = MUST(read(master, text + length, sizeof text - 1 - length));
    CHECK(got > 0, "read %s", text);
    length += got;
  }
  MUST(close(master));
  expect_child_passes(session);
  return 0;
}
