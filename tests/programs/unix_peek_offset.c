// SO_PEEK_OFF of a UNIX stream: peeking goes on where it had come to, reading from the start.
// covers: unix-socket, unix-queue
#include "check.h"
#include <sys/socket.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2], offset = 0;
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  MUST(setsockopt(pair[0], SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset));
  CHECK_EQUAL(write(pair[1], "0123456789", 10), 10);
  char text[16] = "";
  CHECK_EQUAL(recv(pair[0], text, 3, MSG_PEEK), 3);
  checkpoint_here();
  socklen_t length = sizeof offset;
  MUST(getsockopt(pair[0], SOL_SOCKET, SO_PEEK_OFF, &offset, &length));
  CHECK_EQUAL(offset, 3);
  CHECK_EQUAL(recv(pair[0], text, 3, MSG_PEEK), 3);
  CHECK(!strncmp(text, "345", 3), "peeked %s", text);
  CHECK_EQUAL(recv(pair[0], text, sizeof text, 0), 10);
  CHECK(!strncmp(text, "0123456789", 10), "read %s", text);
  return 0;
}
