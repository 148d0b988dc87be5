// A connected UNIX socket whose listener is closed and whose path is gone still tells its own and its peer's name.
// covers: unix-socket
#include "check.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(chdir(scratch_directory));
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "server"}, own = {.sun_family = AF_UNIX, .sun_path = "client"};
  const int listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(bind(listener, (struct sockaddr*)&name, sizeof name));
  MUST(listen(listener, 1));
  const int client = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(bind(client, (struct sockaddr*)&own, sizeof own));
  MUST(connect(client, (struct sockaddr*)&name, sizeof name));
  const int served = MUST(accept(listener, NULL, NULL));
  MUST(close(listener));
  MUST(unlink("server"));
  MUST(unlink("client"));
  checkpoint_here();
  struct sockaddr_un found;
  socklen_t length = sizeof found;
  MUST(getpeername(client, (struct sockaddr*)&found, &length));
  CHECK(!strcmp(found.sun_path, "server"), "the client's peer is %s", found.sun_path);
  length = sizeof found;
  MUST(getsockname(served, (struct sockaddr*)&found, &length));
  CHECK(!strcmp(found.sun_path, "server"), "the served socket is %s", found.sun_path);
  length = sizeof found;
  MUST(getpeername(served, (struct sockaddr*)&found, &length));
  CHECK(!strcmp(found.sun_path, "client"), "the served socket's peer is %s", found.sun_path);
  CHECK(access("server", F_OK) == -1 && access("client", F_OK) == -1, "a name came back");
  char text[8] = "";
  CHECK_EQUAL(write(client, "hi", 2), 2);
  CHECK_EQUAL(read(served, text, 8), 2);
  return 0;
}
