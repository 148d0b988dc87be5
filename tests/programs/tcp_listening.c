// A listening TCP socket takes connections on its port after the restore.
// covers: tcp-listen
#include "inet.h"

static void* client(void* port) {
  const int fd = connected_to(SOCK_STREAM, *(int*)port);
  CHECK_EQUAL(write(fd, "hello", 5), 5);
  char byte;
  CHECK_EQUAL(read(fd, &byte, 1), 0);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int listener = bound(SOCK_STREAM, 0);
  int port = port_of(listener);
  MUST(listen(listener, 5));
  checkpoint_here();
  CHECK_EQUAL(port_of(listener), port);
  CHECK_EQUAL(option_of(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
  pthread_t thread;
  CHECK_EQUAL(pthread_create(&thread, NULL, client, &port), 0);
  const int served = MUST(accept(listener, NULL, NULL));
  char text[8] = "";
  CHECK_EQUAL(recv(served, text, 5, MSG_WAITALL), 5);
  CHECK(!strcmp(text, "hello"), "read %s", text);
  MUST(close(served));
  pthread_join(thread, NULL);
  return 0;
}
