// A pipe whose write end is closed with data left: the data, then the end.
// covers: pipe
#include "check.h"
#include <poll.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  int ends[2], empty[2];
  MUST(pipe(ends));
  MUST(pipe(empty));
  CHECK_EQUAL(write(ends[1], "left", 4), 4);
  MUST(close(ends[1]));
  MUST(close(empty[1]));
  checkpoint_here();
  struct pollfd polled[2] = {{ends[0], POLLIN, 0}, {empty[0], POLLIN, 0}};
  CHECK_EQUAL(poll(polled, 2, 0), 2);
  CHECK_EQUAL(polled[0].revents, POLLIN | POLLHUP);
  CHECK_EQUAL(polled[1].revents, POLLHUP);
  char text[8] = "";
  CHECK_EQUAL(read(ends[0], text, sizeof text), 4);
  CHECK(!strcmp(text, "left"), "read %s", text);
  CHECK_EQUAL(read(ends[0], text, sizeof text), 0);
  CHECK_EQUAL(read(empty[0], text, sizeof text), 0);
  return 0;
}
