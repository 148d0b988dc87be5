// UNIX sockets shut down in one direction, with data left in it, and in both.
// covers: unix-socket, unix-queue
#include "check.h"
#include <sys/socket.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  int writing[2], reading[2], both[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, writing));
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, reading));
  MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, both));
  CHECK_EQUAL(write(writing[0], "last", 4), 4);
  MUST(shutdown(writing[0], SHUT_WR));
  MUST(shutdown(reading[0], SHUT_RD));
  CHECK_EQUAL(write(both[0], "end", 3), 3);
  MUST(shutdown(both[1], SHUT_RDWR));
  checkpoint_here();
  char text[8] = "";
  CHECK(write(writing[0], "x", 1) == -1 && errno == EPIPE, "the direction shut down can be written");
  CHECK_EQUAL(read(writing[1], text, sizeof text), 4);
  CHECK(!strcmp(text, "last"), "read %s", text);
  CHECK_EQUAL(read(writing[1], text, sizeof text), 0);
  CHECK_EQUAL(write(writing[1], "back", 4), 4);
  CHECK_EQUAL(read(writing[0], text, sizeof text), 4);
  CHECK_EQUAL(read(reading[0], text, sizeof text), 0);
  CHECK(write(reading[1], "x", 1) == -1 && errno == EPIPE, "the peer of a reader that shut down can write");
  CHECK_EQUAL(write(reading[0], "out", 3), 3);
  CHECK_EQUAL(read(reading[1], text, sizeof text), 3);
  CHECK_EQUAL(read(both[1], text, sizeof text), 3);
  CHECK_EQUAL(read(both[1], text, sizeof text), 0);
  CHECK_EQUAL(read(both[0], text, sizeof text), 0);
  CHECK(write(both[0], "x", 1) == -1 && errno == EPIPE, "a socket shut down can be written");
  return 0;
}
