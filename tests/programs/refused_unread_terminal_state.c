// A packet-mode master that is yet to read of a change of state is refused, and reads of it afterwards.
// refused: packet mode
#include "check.h"
#include <sys/ioctl.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int master = MUST(posix_openpt(O_RDWR | O_NOCTTY));
  MUST(grantpt(master));
  MUST(unlockpt(master));
  const int slave = MUST(open(ptsname(master), O_RDWR | O_NOCTTY));
  const int on = 1;
  MUST(ioctl(master, TIOCPKT, &on));
  MUST(ioctl(slave, TCFLSH, 2 /* TCIOFLUSH */));
  checkpoint_here();
  unsigned char status = 0;
  CHECK_EQUAL(read(master, &status, 1), 1);
  CHECK((status & TIOCPKT_FLUSHREAD) != 0, "the status is 0x%x", status);
  return 0;
}
