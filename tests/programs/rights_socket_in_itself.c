// A socket in flight over its own pair, and a chain: the socket that holds a descriptor is itself in flight.
// covers: unix-socket, unix-queue, scm-rights
#include "rights.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  int own[2], outer[2], inner[2], fds[16], ends[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, own));
  send_descriptors(own[0], "myself", own, 1);  // own[0] travels to own[1]
  MUST(close(own[0]));

  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, outer));
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, inner));
  MUST(pipe(ends));
  CHECK_EQUAL(write(ends[1], "deep", 4), 4);
  send_descriptors(inner[0], "pipe", ends, 1);
  send_descriptors(outer[0], "socket", inner + 1, 1);
  MUST(close(ends[0]));
  MUST(close(inner[1]));
  checkpoint_here();
  CHECK_EQUAL(receive_descriptors(own[1], "myself", fds), 1);
  char text[8] = "";
  CHECK_EQUAL(write(fds[0], "again", 5), 5);
  CHECK_EQUAL(read(own[1], text, sizeof text), 5);
  CHECK_EQUAL(receive_descriptors(outer[1], "socket", fds), 1);
  CHECK_EQUAL(receive_descriptors(fds[0], "pipe", fds + 1), 1);
  memset(text, 0, sizeof text);
  CHECK_EQUAL(read(fds[1], text, sizeof text), 4);
  CHECK(!strcmp(text, "deep"), "read %s", text);
  return 0;
}
