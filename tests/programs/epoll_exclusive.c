// Two processes asleep in epoll_wait on one listening socket, added with EPOLLEXCLUSIVE: a connection wakes one that serves it.
// covers: epoll, unix-socket
#include "check.h"
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

static int listener;

static void serve(void) {
  const int set = MUST(epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = listener};
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event));
  for (;;) {
    CHECK_EQUAL(epoll_wait(set, &event, 1, -1), 1);
    CHECK_EQUAL(event.data.fd, listener);
    const int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;  // the other one was faster
    char byte;
    CHECK_EQUAL(read(fd, &byte, 1), 1);
    if (byte == 'q') _exit(0);
    CHECK_EQUAL(write(fd, &byte, 1), 1);
    MUST(close(fd));
  }
}

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(chdir(scratch_directory));
  const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "server"};
  listener = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  MUST(bind(listener, (const struct sockaddr*)&name, sizeof name));
  MUST(listen(listener, 50));
  pid_t children[2];
  for (int i = 0; i < 2; i++) {
    children[i] = MUST(fork());
    if (children[i] == 0) serve();
    wait_asleep_in(children[i], children[i], SYS_epoll_wait);
  }
  checkpoint_here();
  for (int i = 0; i < 40; i++) {
    const int fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(connect(fd, (const struct sockaddr*)&name, sizeof name));
    char byte = i < 38 ? 'x' : 'q';
    CHECK_EQUAL(write(fd, &byte, 1), 1);
    CHECK_EQUAL(read(fd, &byte, 1), i < 38 ? 1 : 0);
    MUST(close(fd));
  }
  for (int i = 0; i < 2; i++) expect_child_passes(children[i]);
  return 0;
}
