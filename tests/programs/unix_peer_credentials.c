// SO_PEERCRED: who was at the other end when the connection was made, whatever became of it since.
// covers: unix-socket
#include "check.h"
#include <sys/socket.h>
#include <sys/un.h>

static struct ucred peer_of(int fd) {
  struct ucred credentials;
  socklen_t length = sizeof credentials;
  MUST(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length));
  return credentials;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(chdir(scratch_directory));
  const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "server"};
  const int listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(bind(listener, (const struct sockaddr*)&name, sizeof name));
  MUST(chmod("server", 0666));
  MUST(listen(listener, 2));
  const pid_t child = MUST(fork());
  if (child == 0) {
    MUST(setgid(4321));
    MUST(setuid(1234));
    const int fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(connect(fd, (const struct sockaddr*)&name, sizeof name));
    wait_released(0);
    CHECK_EQUAL(peer_of(fd).pid, getppid());
    CHECK_EQUAL(peer_of(fd).uid, 0);
    char byte;
    CHECK_EQUAL(read(fd, &byte, 1), 1);
    _exit(0);
  }
  const int served = MUST(accept(listener, NULL, NULL));
  int pair[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  checkpoint_here();
  const struct ucred peer = peer_of(served);
  CHECK_EQUAL(peer.pid, child);
  CHECK_EQUAL(peer.uid, 1234);
  CHECK_EQUAL(peer.gid, 4321);
  CHECK_EQUAL(peer_of(pair[0]).pid, getpid());
  CHECK_EQUAL(write(served, "x", 1), 1);
  expect_child_passes(child);
  return 0;
}
