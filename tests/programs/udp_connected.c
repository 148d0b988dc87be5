// Connected UDP sockets: the peer, the own port, a queued datagram, options; strangers stay shut out.
// covers: udp
#include "inet.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int peer = bound(SOCK_DGRAM, 0), stranger = bound(SOCK_DGRAM, 0);
  const int fd = connected_to(SOCK_DGRAM, port_of(peer)), port = port_of(fd);
  set_option(fd, SOL_SOCKET, SO_BROADCAST, 1);
  set_option(fd, IPPROTO_IP, IP_TTL, 42);
  set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
  const struct sockaddr_in name = loopback(port);
  CHECK_EQUAL(sendto(peer, "queued", 6, 0, (const struct sockaddr*)&name, sizeof name), 6);
  checkpoint_here();
  CHECK_EQUAL(port_of(fd), port);
  struct sockaddr_in found;
  socklen_t length = sizeof found;
  MUST(getpeername(fd, (struct sockaddr*)&found, &length));
  CHECK_EQUAL(ntohs(found.sin_port), port_of(peer));
  CHECK_EQUAL(option_of(fd, SOL_SOCKET, SO_BROADCAST), 1);
  CHECK_EQUAL(option_of(fd, IPPROTO_IP, IP_TTL), 42);
  CHECK_EQUAL(option_of(fd, IPPROTO_IP, IP_PKTINFO), 1);
  char text[16] = "";
  CHECK_EQUAL(recv(fd, text, sizeof text, MSG_DONTWAIT), 6);
  CHECK(!strcmp(text, "queued"), "read %s", text);
  CHECK_EQUAL(sendto(stranger, "stranger", 8, 0, (const struct sockaddr*)&name, sizeof name), 8);
  CHECK(recv(fd, text, sizeof text, MSG_DONTWAIT) == -1 && errno == EAGAIN, "a stranger's datagram came through");
  CHECK_EQUAL(send(fd, "out", 3, 0), 3);
  CHECK_EQUAL(recv(peer, text, sizeof text, 0), 3);
  return 0;
}
