// UDP over IPv6: bound and connected, with a datagram queued and its source address.
// covers: udp
#include "inet.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int receiver = bound6(SOCK_DGRAM), sender = bound6(SOCK_DGRAM);
  const struct sockaddr_in6 name = loopback6(port_of(receiver));
  MUST(connect(sender, (const struct sockaddr*)&name, sizeof name));
  CHECK_EQUAL(send(sender, "six", 3, 0), 3);
  const int port = port_of(receiver);
  checkpoint_here();
  CHECK_EQUAL(port_of(receiver), port);
  char text[8] = "";
  struct sockaddr_in6 from;
  socklen_t length = sizeof from;
  CHECK_EQUAL(recvfrom(receiver, text, sizeof text, MSG_DONTWAIT, (struct sockaddr*)&from, &length), 3);
  CHECK(!strcmp(text, "six"), "read %s", text);
  CHECK_EQUAL(from.sin6_family, AF_INET6);
  CHECK_EQUAL(ntohs(from.sin6_port), port_of(sender));
  CHECK(IN6_IS_ADDR_LOOPBACK(&from.sin6_addr), "from another address");
  CHECK_EQUAL(send(sender, "again", 5, 0), 5);
  CHECK_EQUAL(recv(receiver, text, sizeof text, 0), 5);
  return 0;
}
