// A descriptor sent over a connection that nobody has accepted yet.
// covers: unix-socket, unix-queue, scm-rights
#include "rights.h"
#include <sys/un.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(chdir(scratch_directory));
  const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "server"};
  const int listener = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  MUST(bind(listener, (const struct sockaddr*)&name, sizeof name));
  MUST(listen(listener, 10));
  const int client = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(connect(client, (const struct sockaddr*)&name, sizeof name));
  const int file = MUST(open(scratch_path("file"), O_RDWR | O_CREAT, 0600));
  CHECK_EQUAL(write(file, "abc", 3), 3);
  send_descriptors(client, "file", &file, 1);
  MUST(close(file));
  checkpoint_here();
  const int served = MUST(accept(listener, NULL, NULL));
  int fds[16];
  CHECK_EQUAL(receive_descriptors(served, "file", fds), 1);
  CHECK_EQUAL(lseek(fds[0], 0, SEEK_CUR), 3);
  CHECK_EQUAL(write(served, "x", 1), 1);
  char byte;
  CHECK_EQUAL(recv(client, &byte, 1, MSG_DONTWAIT), 1);
  return 0;
}
