// Edge-triggered epoll: what was reported is not reported again; what was not, is; a new edge is.
// covers: epoll
#include "check.h"
#include <sys/epoll.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int set = MUST(epoll_create1(0));
  int reported[2], pending[2];
  MUST(pipe(reported));
  MUST(pipe(pending));
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 1}, found[4];
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, reported[0], &event));
  CHECK_EQUAL(write(reported[1], "x", 1), 1);
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 1);
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 0);
  event.data.u64 = 2;
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, pending[0], &event));
  CHECK_EQUAL(write(pending[1], "x", 1), 1);
  checkpoint_here();
  // A restore may repeat an edge (as the kernel may, whenever it pleases), but never lose one.
  const int count = MUST(epoll_wait(set, found, 4, 0));
  bool seen = false;
  for (int i = 0; i < count; i++) {
    CHECK_EQUAL(found[i].events, EPOLLIN);
    seen |= found[i].data.u64 == 2;
  }
  CHECK(seen, "the pending edge was lost");
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 0);
  CHECK_EQUAL(write(reported[1], "y", 1), 1);
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 1);
  CHECK_EQUAL(found[0].data.u64, 1);
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 0);
  return 0;
}
