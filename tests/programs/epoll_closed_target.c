// An epoll target whose descriptor is closed (and whose number is another file's now) while a duplicate keeps the file open.
// covers: epoll
#include "check.h"
#include <sys/epoll.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int set = MUST(epoll_create1(0));
  int ends[2], other[2];
  MUST(pipe(ends));
  MUST(pipe(other));
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 42}, found[4];
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
  const int duplicate = MUST(fcntl(ends[0], F_DUPFD, 200));
  const int number = ends[0];
  MUST(dup2(other[0], number));
  MUST(close(other[0]));
  checkpoint_here();
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 0);
  CHECK_EQUAL(write(other[1], "x", 1), 1);
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 0);
  CHECK_EQUAL(write(ends[1], "y", 1), 1);
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 1);
  CHECK_EQUAL(found[0].data.u64, 42);
  char byte;
  CHECK_EQUAL(read(duplicate, &byte, 1), 1);
  CHECK_EQUAL(byte, 'y');
  MUST(close(duplicate));
  CHECK_EQUAL(write(other[1], "z", 1), 1);
  CHECK_EQUAL(epoll_wait(set, found, 4, 0), 0);
  return 0;
}
