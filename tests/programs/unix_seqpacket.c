// A UNIX seqpacket pair keeps the boundaries of its messages in both directions.
// covers: unix-socket, unix-queue
#include "check.h"
#include <sys/socket.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2];
  MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair));
  for (int i = 1; i <= 6; i++) CHECK_EQUAL(send(pair[i % 2], "abcdefgh", i, 0), i);
  checkpoint_here();
  char text[16];
  for (int i = 1; i <= 6; i++) {
    memset(text, 0, sizeof text);
    CHECK_EQUAL(recv(pair[(i + 1) % 2], text, sizeof text, 0), i);
    CHECK(!strncmp(text, "abcdefgh", i), "message %d is %s", i, text);
  }
  CHECK(recv(pair[0], text, 1, 0) == -1 && errno == EAGAIN, "more messages than were sent");
  MUST(close(pair[0]));
  CHECK_EQUAL(recv(pair[1], text, 1, 0), 0);
  return 0;
}
