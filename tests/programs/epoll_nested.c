// An epoll set inside an epoll set inside a third; the innermost becomes ready before and after.
// covers: epoll
#include "check.h"
#include <sys/epoll.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  int sets[3], ends[2];
  for (int i = 0; i < 3; i++) sets[i] = MUST(epoll_create1(0));
  MUST(pipe2(ends, O_NONBLOCK));
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 10}, found[4];
  MUST(epoll_ctl(sets[0], EPOLL_CTL_ADD, ends[0], &event));
  event.data.u64 = 11;
  MUST(epoll_ctl(sets[1], EPOLL_CTL_ADD, sets[0], &event));
  event.data.u64 = 12;
  MUST(epoll_ctl(sets[2], EPOLL_CTL_ADD, sets[1], &event));
  checkpoint_here();
  CHECK_EQUAL(epoll_wait(sets[2], found, 4, 0), 0);
  CHECK_EQUAL(write(ends[1], "x", 1), 1);
  for (int i = 2; i >= 0; i--) {
    CHECK_EQUAL(epoll_wait(sets[i], found, 4, 0), 1);
    CHECK_EQUAL(found[0].data.u64, 10 + i);
  }
  char byte;
  CHECK_EQUAL(read(ends[0], &byte, 1), 1);
  CHECK_EQUAL(epoll_wait(sets[2], found, 4, 0), 0);
  return 0;
}
