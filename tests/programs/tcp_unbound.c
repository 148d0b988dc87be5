// A TCP socket that has only been made: its options stay, and it can be bound, or connected.
// covers: tcp-listen
#include "inet.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int listener = bound(SOCK_STREAM, 0);
  MUST(listen(listener, 5));
  const int fresh = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  set_option(fresh, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fresh, SOL_SOCKET, SO_KEEPALIVE, 1);
  const struct timeval timeout = {2, 0};
  MUST(setsockopt(fresh, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
  checkpoint_here();
  CHECK(MUST(fcntl(fresh, F_GETFL)) & O_NONBLOCK, "O_NONBLOCK is gone");
  CHECK_EQUAL(option_of(fresh, IPPROTO_TCP, TCP_NODELAY), 1);
  CHECK_EQUAL(option_of(fresh, SOL_SOCKET, SO_KEEPALIVE), 1);
  CHECK_EQUAL(option_of(fresh, SOL_SOCKET, SO_RCVTIMEO), 2);
  MUST(fcntl(fresh, F_SETFL, 0));
  const struct sockaddr_in name = loopback(port_of(listener));
  MUST(connect(fresh, (const struct sockaddr*)&name, sizeof name));
  const int served = MUST(accept(listener, NULL, NULL));
  char byte;
  CHECK_EQUAL(write(served, "x", 1), 1);
  CHECK_EQUAL(read(fresh, &byte, 1), 1);
  return 0;
}
