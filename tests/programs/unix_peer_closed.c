// A UNIX socket whose peer is closed with data left: the data, then the end; writing fails. With unread data at the peer: ECONNRESET.
// covers: unix-socket, unix-queue
#include "check.h"
#include <sys/socket.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  int pair[2], reset[2], datagram[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, reset));
  MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagram));
  CHECK_EQUAL(write(pair[1], "testament", 9), 9);
  MUST(close(pair[1]));
  CHECK_EQUAL(write(reset[0], "unread", 6), 6);
  MUST(close(reset[1]));
  CHECK_EQUAL(write(datagram[1], "a", 1), 1);
  CHECK_EQUAL(write(datagram[1], "bc", 2), 2);
  MUST(close(datagram[1]));
  checkpoint_here();
  char text[16] = "";
  CHECK(write(pair[0], "x", 1) == -1 && errno == EPIPE, "a closed peer can be written to");
  CHECK_EQUAL(read(pair[0], text, sizeof text), 9);
  CHECK(!strcmp(text, "testament"), "read %s", text);
  CHECK_EQUAL(read(pair[0], text, sizeof text), 0);
  CHECK(read(reset[0], text, sizeof text) == -1 && errno == ECONNRESET, "the reset was lost");
  CHECK_EQUAL(recv(datagram[0], text, sizeof text, MSG_DONTWAIT), 1);
  CHECK_EQUAL(recv(datagram[0], text, sizeof text, MSG_DONTWAIT), 2);
  CHECK(send(datagram[0], "x", 1, 0) == -1 && (errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET), "a datagram went to nobody");
  return 0;
}
