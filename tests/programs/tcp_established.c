// An established TCP connection: after the restore it works, or an error ends it at once for whoever reads, writes or polls; never a hang.
#include "inet.h"
#include <poll.h>

static bool expected_error(int error) { return error == ECONNRESET || error == EPIPE || error == ETIMEDOUT || error == ENOTCONN; }

static void* blocked_reader(void* fd) {
  char byte;
  const ssize_t result = read(*(int*)fd, &byte, 1);
  CHECK(result == 1 || result == 0 || expected_error(errno), "the blocked read returned %zd", result);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  const int listener = bound(SOCK_STREAM, 0);
  MUST(listen(listener, 5));
  int clients[3], served[3];
  for (int i = 0; i < 3; i++) {
    clients[i] = connected_to(SOCK_STREAM, port_of(listener));
    served[i] = MUST(accept(listener, NULL, NULL));
  }
  pthread_t thread;
  CHECK_EQUAL(pthread_create(&thread, NULL, blocked_reader, &clients[0]), 0);
  checkpoint_here();
  struct pollfd polled = {clients[1], POLLIN | POLLOUT, 0};
  CHECK_EQUAL(poll(&polled, 1, 5000), 1);
  char byte;
  ssize_t result = write(served[0], "x", 1);
  CHECK(result == 1 || expected_error(errno), "write returned %zd", result);
  result = recv(served[1], &byte, 1, MSG_DONTWAIT);
  CHECK(result == 0 || (result == -1 && (errno == EAGAIN || expected_error(errno))), "read returned %zd", result);
  pthread_join(thread, NULL);
  MUST(close(clients[2]));
  const int client = connected_to(SOCK_STREAM, port_of(listener));
  const int fresh = MUST(accept(listener, NULL, NULL));
  CHECK_EQUAL(write(client, "y", 1), 1);
  CHECK_EQUAL(read(fresh, &byte, 1), 1);
  CHECK_EQUAL(byte, 'y');
  return 0;
}
