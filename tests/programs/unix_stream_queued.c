// A UNIX stream pair with unread data in both directions, one of them partly read.
// covers: unix-socket, unix-queue
#include "check.h"
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { kSize = 60000 };

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  char* pattern = malloc(kSize);
  char* found = calloc(1, kSize);
  fill_pattern(pattern, kSize, 1);
  CHECK_EQUAL(write(pair[0], pattern, kSize), kSize);
  CHECK_EQUAL(write(pair[1], "back", 4), 4);
  CHECK_EQUAL(write(pair[1], "wards", 5), 5);
  CHECK_EQUAL(read(pair[1], found, 16), 16);
  checkpoint_here();
  int unread;
  MUST(ioctl(pair[1], FIONREAD, &unread));
  CHECK_EQUAL(unread, kSize - 16);
  CHECK_EQUAL(recv(pair[1], found + 16, kSize - 16, MSG_DONTWAIT), kSize - 16);
  check_pattern("there", found, kSize, 1);
  char text[16] = "";
  CHECK_EQUAL(recv(pair[0], text, 2, MSG_PEEK), 2);
  CHECK_EQUAL(recv(pair[0], text, sizeof text, 0), 9);
  CHECK(!strcmp(text, "backwards"), "read %s", text);
  CHECK(recv(pair[0], text, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "more data than was written");
  CHECK_EQUAL(write(pair[0], "on", 2), 2);
  CHECK_EQUAL(read(pair[1], text, 2), 2);
  return 0;
}
