// A bound UDP socket with datagrams queued: contents, boundaries and source addresses stay; an empty datagram among them.
// covers: udp
#include "inet.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int receiver = bound(SOCK_DGRAM, 0), port = port_of(receiver);
  const int first = bound(SOCK_DGRAM, 0), second = bound(SOCK_DGRAM, 0);
  const struct sockaddr_in name = loopback(port);
  const struct {
    int from;
    const char* text;
  } sent[] = {{first, "one"}, {second, "datagram two"}, {first, ""}, {second, "4"}};
  for (int i = 0; i < 4; i++)
    CHECK_EQUAL(sendto(sent[i].from, sent[i].text, strlen(sent[i].text), 0, (const struct sockaddr*)&name, sizeof name), strlen(sent[i].text));
  checkpoint_here();
  CHECK_EQUAL(port_of(receiver), port);
  for (int i = 0; i < 4; i++) {
    char text[64] = "";
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    CHECK_EQUAL(recvfrom(receiver, text, sizeof text, MSG_DONTWAIT, (struct sockaddr*)&from, &length), strlen(sent[i].text));
    CHECK(!strcmp(text, sent[i].text), "datagram %d is %s", i, text);
    CHECK_EQUAL(ntohs(from.sin_port), port_of(sent[i].from));
    CHECK_EQUAL(ntohl(from.sin_addr.s_addr), INADDR_LOOPBACK);
  }
  char byte;
  CHECK(recv(receiver, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "more datagrams than were sent");
  CHECK_EQUAL(sendto(first, "x", 1, 0, (const struct sockaddr*)&name, sizeof name), 1);
  CHECK_EQUAL(recv(receiver, &byte, 1, 0), 1);
  return 0;
}
