// Pseudo-terminals that the program opened itself: modes, window size, and bytes on their way in both directions.
// covers: terminal
#include "check.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  int raw[2], cooked[2];
  MUST(openpty(&raw[0], &raw[1], NULL, NULL, NULL));
  MUST(openpty(&cooked[0], &cooked[1], NULL, NULL, NULL));
  struct termios modes, found;
  MUST(tcgetattr(raw[1], &modes));
  cfmakeraw(&modes);
  modes.c_cc[VMIN] = 3;
  modes.c_cc[VTIME] = 0;
  MUST(cfsetspeed(&modes, B9600));
  MUST(tcsetattr(raw[1], TCSANOW, &modes));
  MUST(tcgetattr(raw[1], &modes));
  const struct winsize size = {33, 101, 7, 8};
  MUST(ioctl(raw[0], TIOCSWINSZ, &size));
  MUST(tcgetattr(cooked[1], &found));
  found.c_lflag &= ~ECHO;
  MUST(tcsetattr(cooked[1], TCSANOW, &found));
  CHECK_EQUAL(write(raw[0], "typed", 5), 5);
  CHECK_EQUAL(write(raw[1], "printed", 7), 7);
  CHECK_EQUAL(write(cooked[0], "a line\nhalf a li", 16), 16);
  sleep_ms(50);  // input travels to the line discipline through a work queue
  char name[64];
  MUST(ttyname_r(raw[1], name, sizeof name));
  checkpoint_here();
  MUST(tcgetattr(raw[1], &found));
  CHECK(found.c_iflag == modes.c_iflag && found.c_oflag == modes.c_oflag && found.c_cflag == modes.c_cflag && found.c_lflag == modes.c_lflag,
        "the modes differ");
  CHECK(!memcmp(found.c_cc, modes.c_cc, NCCS), "the control characters differ");
  CHECK_EQUAL(cfgetospeed(&found), B9600);
  struct winsize found_size;
  MUST(ioctl(raw[1], TIOCGWINSZ, &found_size));
  CHECK(!memcmp(&size, &found_size, sizeof size), "the window is %d x %d", found_size.ws_col, found_size.ws_row);
  char text[32] = "";
  MUST(fcntl(raw[0], F_SETFL, O_NONBLOCK));
  CHECK_EQUAL(read(raw[0], text, sizeof text), 7);
  CHECK(!strcmp(text, "printed"), "the master reads %s", text);
  memset(text, 0, sizeof text);
  CHECK_EQUAL(read(raw[1], text, sizeof text), 5);
  CHECK(!strcmp(text, "typed"), "the terminal reads %s", text);
  memset(text, 0, sizeof text);
  CHECK_EQUAL(read(cooked[1], text, sizeof text), 7);
  CHECK(!strcmp(text, "a line\n"), "the terminal reads %s", text);
  CHECK_EQUAL(write(cooked[0], "ne\n", 3), 3);
  memset(text, 0, sizeof text);
  CHECK_EQUAL(read(cooked[1], text, sizeof text), 12);
  CHECK(!strcmp(text, "half a line\n"), "the terminal reads %s", text);
  char name_now[64];
  MUST(ttyname_r(raw[1], name_now, sizeof name_now));
  CHECK(!strcmp(name, name_now), "the terminal is %s, not %s", name_now, name);
  return 0;
}
