// A UDP socket that holds back the first part of a datagram (MSG_MORE) is refused.
// refused: (?i)part of a datagram|hold
#include "inet.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int receiver = bound(SOCK_DGRAM, 0), sender = MUST(socket(AF_INET, SOCK_DGRAM, 0));
  const struct sockaddr_in name = loopback(port_of(receiver));
  MUST(connect(sender, (const struct sockaddr*)&name, sizeof name));
  CHECK_EQUAL(send(sender, "first ", 6, MSG_MORE), 6);
  checkpoint_here();
  CHECK_EQUAL(send(sender, "second", 6, 0), 6);
  char text[20];
  CHECK_EQUAL(recv(receiver, text, sizeof text, 0), 12);
  CHECK(memcmp(text, "first second", 12) == 0, "received %.12s", text);
  return 0;
}
