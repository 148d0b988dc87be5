// A pseudo-terminal whose slave side nobody has open, one in packet mode, one that is locked, one in exclusive mode.
// covers: terminal
#include "check.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  int hung_up[2], packet[2], exclusive[2];
  MUST(openpty(&hung_up[0], &hung_up[1], NULL, NULL, NULL));
  MUST(openpty(&packet[0], &packet[1], NULL, NULL, NULL));
  MUST(openpty(&exclusive[0], &exclusive[1], NULL, NULL, NULL));
  const int locked = MUST(posix_openpt(O_RDWR | O_NOCTTY));
  const int unopened = MUST(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK));
  MUST(unlockpt(unopened));
  int on = 1;
  MUST(ioctl(packet[0], TIOCPKT, &on));
  MUST(ioctl(exclusive[1], TIOCEXCL));
  MUST(close(hung_up[1]));
  checkpoint_here();
  char text[16];
  CHECK(read(hung_up[0], text, 1) == -1 && errno == EIO, "the closed terminal does not say so");
  CHECK_EQUAL(write(packet[1], "x", 1), 1);
  CHECK_EQUAL(read(packet[0], text, sizeof text), 2);
  CHECK(text[0] == TIOCPKT_DATA && text[1] == 'x', "packet mode is gone");
  int value;
  MUST(ioctl(locked, TIOCGPTLCK, &value));
  CHECK_EQUAL(value, 1);
  MUST(ioctl(unopened, TIOCGPTLCK, &value));
  CHECK_EQUAL(value, 0);
  MUST(ioctl(exclusive[1], TIOCGEXCL, &value));
  CHECK_EQUAL(value, 1);
  const int slave = MUST(open(ptsname(unopened), O_RDWR | O_NOCTTY));
  CHECK_EQUAL(write(slave, "y", 1), 1);
  CHECK_EQUAL(read(unopened, text, sizeof text), 1);
  return 0;
}
