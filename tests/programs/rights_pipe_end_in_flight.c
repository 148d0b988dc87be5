// A pipe both of whose ends exist only in flight, with data in it, and one whose write end does: neither is closed.
// covers: pipe, unix-queue, scm-rights
#include "rights.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2], both[2], half[2], fds[16];
  MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
  MUST(pipe(both));
  MUST(pipe2(half, O_NONBLOCK));
  CHECK_EQUAL(write(both[1], "inside", 6), 6);
  send_descriptors(pair[0], "both", both, 2);
  send_descriptors(pair[0], "half", half + 1, 1);
  MUST(close(both[0]));
  MUST(close(both[1]));
  MUST(close(half[1]));
  checkpoint_here();
  char text[8] = "";
  CHECK(read(half[0], text, 1) == -1 && errno == EAGAIN, "the end in flight counts as closed");
  CHECK_EQUAL(receive_descriptors(pair[1], "both", fds), 2);
  CHECK_EQUAL(read(fds[0], text, sizeof text), 6);
  CHECK(!strcmp(text, "inside"), "read %s", text);
  CHECK_EQUAL(write(fds[1], "x", 1), 1);
  CHECK_EQUAL(read(fds[0], text, 1), 1);
  CHECK_EQUAL(receive_descriptors(pair[1], "half", fds), 1);
  CHECK_EQUAL(write(fds[0], "y", 1), 1);
  CHECK_EQUAL(read(half[0], text, 1), 1);
  MUST(close(fds[0]));
  CHECK_EQUAL(read(half[0], text, 1), 0);
  return 0;
}
