// One-shot epoll: a target that fired stays silent until it is armed again; one that has not, fires once.
// covers: epoll
#include "check.h"
#include <sys/epoll.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int set = MUST(epoll_create1(0));
  int fired[2], armed[2];
  MUST(pipe(fired));
  MUST(pipe(armed));
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 1}, found[4];
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, fired[0], &event));
  CHECK_EQUAL(write(fired[1], "x", 1), 1);
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 1);
  event.data.u64 = 2;
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, armed[0], &event));
  CHECK_EQUAL(write(armed[1], "x", 1), 1);
  checkpoint_here();
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 1);
  CHECK_EQUAL(found[0].data.u64, 2);
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 0);
  event.data.u64 = 3;
  MUST(epoll_ctl(set, EPOLL_CTL_MOD, fired[0], &event));
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 1);
  CHECK_EQUAL(found[0].data.u64, 3);
  return 0;
}
