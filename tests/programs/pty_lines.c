// What waits in a pseudo terminal in its finest grain: ends of file, other ends of line, a quoted end of line, what was there before lines were gathered, a
// full input queue with more behind it, output held by ^S, a terminal that was hung up, and one whose master is gone.
// covers: terminal
#include "check.h"
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

enum { kFlood = 6000 };

static void type(int master, const char* text, size_t length) { CHECK_EQUAL(write(master, text, length), (ssize_t)length); }

/// Input travels to the line discipline through a work queue.
static void wait_taken_in(int terminal, int length) {
  int waiting = 0;
  while (MUST(ioctl(terminal, FIONREAD, &waiting)), waiting != length) sleep_ms(1);
}

static bool is_writable(int terminal) {
  struct pollfd wanted = {terminal, POLLOUT, 0};
  return MUST(poll(&wanted, 1, 0)) == 1;
}

static struct termios without_echo(int terminal) {
  struct termios modes;
  MUST(tcgetattr(terminal, &modes));
  modes.c_lflag &= ~(tcflag_t)ECHO;
  MUST(tcsetattr(terminal, TCSANOW, &modes));
  return modes;
}

static void expect(int terminal, const char* wanted, size_t length) {
  char text[64] = "";
  CHECK_EQUAL(read(terminal, text, sizeof text), (ssize_t)length);
  CHECK(!memcmp(text, wanted, length), "the terminal reads %.*s, not %.*s", (int)length, text, (int)length, wanted);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  int lines[2], pushed[2], flooded[2], held[2], hung_up[2], orphaned[2];
  MUST(openpty(&lines[0], &lines[1], NULL, NULL, NULL));
  struct termios modes = without_echo(lines[1]);
  modes.c_cc[VEOL] = ';';
  MUST(tcsetattr(lines[1], TCSANOW, &modes));
  type(lines[0], "one;two\004\026\nthree\n\004half\026", 22);  // ^D ends a line that is not empty, ^V quotes, and waits for what it is to quote

  MUST(openpty(&pushed[0], &pushed[1], NULL, NULL, NULL));
  modes = without_echo(pushed[1]);
  struct termios raw = modes;
  cfmakeraw(&raw);
  MUST(tcsetattr(pushed[1], TCSANOW, &raw));
  type(pushed[0], "no line", 7);
  wait_taken_in(pushed[1], 7);
  MUST(tcsetattr(pushed[1], TCSANOW, &modes));
  type(pushed[0], "a line\n", 7);

  MUST(openpty(&flooded[0], &flooded[1], NULL, NULL, NULL));
  MUST(tcsetattr(flooded[1], TCSANOW, &raw));
  static char flood[kFlood], found[kFlood];
  for (int i = 0; i < kFlood; i++) flood[i] = (char)(i * 7 + i / 251);
  type(flooded[0], flood, kFlood);
  CHECK_EQUAL(write(flooded[1], flood, kFlood), kFlood);

  MUST(openpty(&held[0], &held[1], NULL, NULL, NULL));
  without_echo(held[1]);
  type(held[0], "\023", 1);
  while (is_writable(held[1])) sleep_ms(1);
  MUST(fcntl(held[1], F_SETFL, O_NONBLOCK));

  MUST(openpty(&hung_up[0], &hung_up[1], NULL, NULL, NULL));
  MUST(ioctl(hung_up[1], TIOCVHANGUP));
  const int anew = MUST(open(ptsname(hung_up[0]), O_RDWR | O_NOCTTY));
  without_echo(anew);
  MUST(openpty(&orphaned[0], &orphaned[1], NULL, NULL, NULL));
  MUST(close(orphaned[0]));
  checkpoint_here();

  type(lines[0], "\n\n", 2);
  expect(lines[1], "one;", 4);
  expect(lines[1], "two", 3);
  expect(lines[1], "\nthree\n", 7);
  CHECK_EQUAL(read(lines[1], found, 1), 0);
  expect(lines[1], "half\n\n", 6);
  expect(pushed[1], "no line", 7);
  expect(pushed[1], "a line\n", 7);
  for (int end = 0; end < 2; end++) {
    memset(found, 0, sizeof found);
    for (ssize_t length = 0; length < kFlood;) length += MUST(read(flooded[end], found + length, (size_t)(kFlood - length)));
    CHECK(!memcmp(flood, found, kFlood), "what was written to the other end of %d has changed", end);
  }
  CHECK(write(held[1], "x", 1) == -1 && errno == EAGAIN, "the output is not held");
  type(held[0], "\021", 1);
  for (int i = 0; i < 1000 && write(held[1], "x", 1) != 1; i++) sleep_ms(1);
  expect(held[0], "x", 1);
  CHECK_EQUAL(read(hung_up[1], found, 1), 0);
  CHECK(write(hung_up[1], "x", 1) == -1 && errno == EIO, "a terminal that was hung up can be written to");
  type(hung_up[0], "live\n", 5);
  expect(anew, "live\n", 5);
  CHECK(write(orphaned[1], "x", 1) == -1 && errno == EIO, "a terminal without a master can be written to");
  return 0;
}
