// A UNIX datagram pair keeps its messages apart, an empty one among them.
// covers: unix-socket, unix-queue
#include "check.h"
#include <sys/socket.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2];
  MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
  const char* const messages[] = {"one", "", "three", "the fourth and longest of them", "5"};
  for (int i = 0; i < 5; i++) CHECK_EQUAL(send(pair[0], messages[i], strlen(messages[i]), 0), strlen(messages[i]));
  CHECK_EQUAL(send(pair[1], "back", 4, 0), 4);
  checkpoint_here();
  char text[64];
  for (int i = 0; i < 5; i++) {
    memset(text, 0, sizeof text);
    CHECK_EQUAL(recv(pair[1], text, i == 3 ? 3 : sizeof text, MSG_DONTWAIT), i == 3 ? 3 : strlen(messages[i]));
    CHECK(!strncmp(text, messages[i], i == 3 ? 3 : sizeof text), "message %d is %s", i, text);
  }
  CHECK(recv(pair[1], text, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "more messages than were sent");
  CHECK_EQUAL(recv(pair[0], text, sizeof text, MSG_DONTWAIT), 4);
  CHECK_EQUAL(send(pair[1], "again", 5, 0), 5);
  CHECK_EQUAL(recv(pair[0], text, sizeof text, 0), 5);
  return 0;
}
