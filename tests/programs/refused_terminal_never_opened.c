// A pseudo terminal into which something was typed before anybody has opened it is refused, and gives it to whoever opens it afterwards.
// refused: before anybody has opened it
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int master = MUST(posix_openpt(O_RDWR | O_NOCTTY));
  MUST(grantpt(master));
  MUST(unlockpt(master));
  CHECK_EQUAL(write(master, "typed\n", 6), 6);
  sleep_ms(50);  // input travels to the line discipline through a work queue
  checkpoint_here();
  const int slave = MUST(open(ptsname(master), O_RDWR | O_NOCTTY));
  char text[16] = "";
  CHECK_EQUAL(read(slave, text, sizeof text), 6);
  CHECK(strcmp(text, "typed\n") == 0, "the terminal reads %s", text);
  return 0;
}
