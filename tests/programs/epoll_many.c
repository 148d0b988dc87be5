// An epoll set of a hundred pipes with events and data of their own; some are ready.
// covers: epoll
#include "check.h"
#include <sys/epoll.h>

enum { kPipes = 100 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const int set = MUST(epoll_create1(EPOLL_CLOEXEC));
  static int pipes[kPipes][2];
  for (int i = 0; i < kPipes; i++) {
    MUST(pipe2(pipes[i], O_NONBLOCK));
    struct epoll_event event = {.events = i % 2 ? EPOLLIN : EPOLLIN | EPOLLPRI, .data.u64 = 0x1122334400000000ull + i};
    if (i % 10 != 9) MUST(epoll_ctl(set, EPOLL_CTL_ADD, pipes[i][0], &event));
    if (i % 7 == 0) CHECK_EQUAL(write(pipes[i][1], "x", 1), 1);
  }
  checkpoint_here();
  CHECK_EQUAL(MUST(fcntl(set, F_GETFD)), FD_CLOEXEC);
  struct epoll_event events[kPipes];
  bool ready[kPipes] = {false};
  const int count = MUST(epoll_wait(set, events, kPipes, 0));
  for (int i = 0; i < count; i++) {
    CHECK_EQUAL(events[i].data.u64 >> 32, 0x11223344);
    CHECK_EQUAL(events[i].events, EPOLLIN);
    ready[events[i].data.u64 & 0xffff] = true;
  }
  for (int i = 0; i < kPipes; i++) {
    CHECK(ready[i] == (i % 7 == 0 && i % 10 != 9), "pipe %d is ready: %d", i, ready[i]);
    struct epoll_event event = {.events = EPOLLIN};
    const int result = epoll_ctl(set, EPOLL_CTL_ADD, pipes[i][0], &event);
    if (i % 10 == 9)
      CHECK(result == 0, "pipe %d was in the set", i);
    else
      CHECK(result == -1 && errno == EEXIST, "pipe %d is not in the set", i);
  }
  for (int i = 0; i < kPipes; i++) CHECK_EQUAL(write(pipes[i][1], "x", 1), 1);
  CHECK_EQUAL(epoll_wait(set, events, kPipes, 0), kPipes);
  return 0;
}
