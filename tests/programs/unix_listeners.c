// Listening UNIX sockets, named by a path, by an abstract name and by the kernel (autobind): new clients connect after the restore.
// covers: unix-socket
#include "check.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un names[3];
static socklen_t lengths[3];

static void talk(int listener, int i) {
  const int client = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  CHECK(connect(client, (struct sockaddr*)&names[i], lengths[i]) == 0, "cannot connect to socket %d", i);
  const int served = MUST(accept(listener, NULL, NULL));
  char text[8] = "";
  CHECK_EQUAL(write(client, "hello", 5), 5);
  CHECK_EQUAL(read(served, text, sizeof text), 5);
  struct sockaddr_un peer;
  socklen_t length = sizeof peer;
  MUST(getpeername(client, (struct sockaddr*)&peer, &length));
  CHECK_EQUAL(length, lengths[i]);
  CHECK(!memcmp(&peer, &names[i], length), "the peer's name differs");
  MUST(close(client));
  MUST(close(served));
}

int main(int argc, char** argv) {
  begin(argc, argv);
  int listeners[3];
  for (int i = 0; i < 3; i++) {
    listeners[i] = MUST(socket(AF_UNIX, i == 1 ? SOCK_STREAM | SOCK_NONBLOCK : SOCK_STREAM, 0));
    names[i].sun_family = AF_UNIX;
    lengths[i] = sizeof(sa_family_t);
  }
  MUST(chdir(scratch_directory));
  snprintf(names[0].sun_path, sizeof names[0].sun_path, "socket");  // relative, as the program wrote it
  lengths[0] = offsetof(struct sockaddr_un, sun_path) + sizeof "socket";
  lengths[1] = offsetof(struct sockaddr_un, sun_path) + 1 + sprintf(names[1].sun_path + 1, "perdure-test-%d-%ld", getpid(), (long)time(NULL));
  for (int i = 0; i < 3; i++) {
    MUST(bind(listeners[i], (struct sockaddr*)&names[i], lengths[i]));
    MUST(listen(listeners[i], 7 + i));
  }
  lengths[2] = sizeof names[2];
  MUST(getsockname(listeners[2], (struct sockaddr*)&names[2], &lengths[2]));
  struct stat before, after;
  MUST(stat("socket", &before));
  checkpoint_here();
  for (int i = 0; i < 3; i++) {
    struct sockaddr_un name;
    socklen_t length = sizeof name;
    MUST(getsockname(listeners[i], (struct sockaddr*)&name, &length));
    CHECK_EQUAL(length, lengths[i]);
    CHECK(!memcmp(&name, &names[i], length), "the name of socket %d differs", i);
    int accepting = 0;
    length = sizeof accepting;
    MUST(getsockopt(listeners[i], SOL_SOCKET, SO_ACCEPTCONN, &accepting, &length));
    CHECK_EQUAL(accepting, 1);
    talk(listeners[i], i);
  }
  MUST(stat("socket", &after));
  CHECK_EQUAL(after.st_mode, before.st_mode);
  CHECK(accept(listeners[1], NULL, NULL) == -1 && errno == EAGAIN, "a connection nobody made");
  return 0;
}
