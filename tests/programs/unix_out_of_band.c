// An out-of-band byte in a UNIX stream keeps its place and its mark.
#include "check.h"
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  CHECK_EQUAL(write(pair[0], "abc", 3), 3);
  if (send(pair[0], "!", 1, MSG_OOB) != 1) SKIP("no MSG_OOB on UNIX sockets");
  CHECK_EQUAL(write(pair[0], "def", 3), 3);
  checkpoint_here();
  char text[8] = "";
  CHECK_EQUAL(recv(pair[1], text, sizeof text, 0), 3);
  CHECK(!strcmp(text, "abc"), "read %s", text);
  CHECK_EQUAL(recv(pair[1], text, 1, MSG_OOB), 1);
  CHECK_EQUAL(text[0], '!');
  CHECK_EQUAL(recv(pair[1], text, sizeof text, 0), 3);
  CHECK(!strncmp(text, "def", 3), "read %s", text);
  return 0;
}
