// TCP connections that wait to be accepted: the listener still serves new ones, whatever became of those, and nobody hangs.
// covers: tcp-listen
#include "inet.h"
#include <poll.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  const int listener = bound(SOCK_STREAM, 0);
  MUST(listen(listener, 5));
  const int waiting = connected_to(SOCK_STREAM, port_of(listener));
  CHECK_EQUAL(write(waiting, "early", 5), 5);
  checkpoint_here();
  const int client = connected_to(SOCK_STREAM, port_of(listener));
  CHECK_EQUAL(write(client, "new", 3), 3);
  char text[8] = "";
  bool found = false;
  for (int i = 0; i < 2 && !found; i++) {
    struct pollfd polled = {listener, POLLIN, 0};
    CHECK(poll(&polled, 1, 5000) == 1, "no connection to accept");
    const int served = MUST(accept(listener, NULL, NULL));
    const ssize_t result = read(served, text, sizeof text);
    found = result == 3 && !memcmp(text, "new", 3);
    CHECK(found || result == 5 || result == 0 || errno == ECONNRESET, "read returned %zd", result);
  }
  CHECK(found, "the new connection is not served");
  return 0;
}
