// A listening seqpacket socket and a bound datagram socket, by abstract names; the backlog limits as before.
// covers: unix-socket
#include "check.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un name;
static socklen_t length;

static int try_connect(void) {
  const int fd = MUST(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0));
  return connect(fd, (struct sockaddr*)&name, length) == 0 ? fd : -1;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int listener = MUST(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0)), datagram = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
  name.sun_family = AF_UNIX;
  MUST(bind(listener, (struct sockaddr*)&name, sizeof(sa_family_t)));
  MUST(bind(datagram, (struct sockaddr*)&name, sizeof(sa_family_t)));
  length = sizeof name;
  MUST(getsockname(listener, (struct sockaddr*)&name, &length));
  MUST(listen(listener, 2));
  struct sockaddr_un datagram_name;
  socklen_t datagram_length = sizeof datagram_name;
  MUST(getsockname(datagram, (struct sockaddr*)&datagram_name, &datagram_length));
  checkpoint_here();
  int accepted = 0;
  while (try_connect() >= 0) accepted++;
  CHECK_EQUAL(errno, EAGAIN);
  CHECK_EQUAL(accepted, 3);
  const int served = MUST(accept(listener, NULL, NULL)), client = MUST(try_connect());
  CHECK(served >= 0 && client >= 0, "no connection");
  const int sender = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
  CHECK_EQUAL(sendto(sender, "hello", 5, 0, (struct sockaddr*)&datagram_name, datagram_length), 5);
  char text[8];
  CHECK_EQUAL(recv(datagram, text, sizeof text, 0), 5);
  return 0;
}
