// Connections that wait to be accepted, in their order: idle, with data sent already, and with the client gone again.
// covers: unix-socket, unix-queue
#include "check.h"
#include <sys/socket.h>
#include <sys/un.h>

static const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "server"};

static int connected(void) {
  const int fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(connect(fd, (const struct sockaddr*)&name, sizeof name));
  return fd;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(chdir(scratch_directory));
  const int listener = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  MUST(bind(listener, (const struct sockaddr*)&name, sizeof name));
  MUST(listen(listener, 10));
  const int idle = connected(), sending = connected(), leaving = connected(), half = connected();
  CHECK_EQUAL(write(sending, "early", 5), 5);
  CHECK_EQUAL(write(leaving, "farewell", 8), 8);
  MUST(close(leaving));
  CHECK_EQUAL(write(half, "half", 4), 4);
  MUST(shutdown(half, SHUT_WR));
  checkpoint_here();
  char text[16] = "";
  const int first = MUST(accept(listener, NULL, NULL));
  CHECK_EQUAL(write(first, "1", 1), 1);
  CHECK_EQUAL(recv(idle, text, 1, MSG_DONTWAIT), 1);
  const int second = MUST(accept(listener, NULL, NULL));
  CHECK_EQUAL(recv(second, text, sizeof text, MSG_DONTWAIT), 5);
  CHECK(!strcmp(text, "early"), "read %s", text);
  CHECK_EQUAL(write(second, "2", 1), 1);
  CHECK_EQUAL(recv(sending, text, 1, MSG_DONTWAIT), 1);
  const int third = MUST(accept(listener, NULL, NULL));
  CHECK_EQUAL(recv(third, text, sizeof text, MSG_DONTWAIT), 8);
  CHECK_EQUAL(recv(third, text, sizeof text, MSG_DONTWAIT), 0);
  const int fourth = MUST(accept(listener, NULL, NULL));
  CHECK_EQUAL(recv(fourth, text, sizeof text, MSG_DONTWAIT), 4);
  CHECK_EQUAL(recv(fourth, text, sizeof text, MSG_DONTWAIT), 0);
  CHECK_EQUAL(write(fourth, "4", 1), 1);
  CHECK_EQUAL(recv(half, text, 1, MSG_DONTWAIT), 1);
  CHECK(accept(listener, NULL, NULL) == -1 && errno == EAGAIN, "one connection more");
  return 0;
}
