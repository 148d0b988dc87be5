// An epoll set used by parent and child, with targets of every kind: socket, eventfd, timerfd, signalfd, FIFO, inotify, terminal.
// covers: epoll
#include "check.h"
#include <pty.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

enum { kTargets = 7 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const int set = MUST(epoll_create1(0));
  int pair[2], terminal[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  MUST(openpty(&terminal[0], &terminal[1], NULL, NULL, NULL));
  const int event_fd = MUST(eventfd(0, 0));
  const int timer = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR2);
  MUST(sigprocmask(SIG_BLOCK, &signals, NULL));
  const int signal_fd = MUST(signalfd(-1, &signals, 0));
  MUST(mkfifo(scratch_path("fifo"), 0600));
  const int fifo = MUST(open(scratch_path("fifo"), O_RDWR));
  const int watcher = MUST(inotify_init());
  MUST(inotify_add_watch(watcher, scratch_path("fifo"), IN_ATTRIB));
  const int targets[kTargets] = {pair[0], event_fd, timer, signal_fd, fifo, watcher, terminal[0]};
  for (int i = 0; i < kTargets; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, targets[i], &event));
  }
  struct epoll_event found[kTargets + 1];
  CHECK_EQUAL(epoll_wait(set, found, kTargets + 1, 0), 0);
  const pid_t child = MUST(fork());
  if (child == 0) {
    CHECK_EQUAL(epoll_wait(set, found, kTargets + 1, -1), 1);  // sleeps in here when the checkpoint comes
    CHECK_EQUAL(found[0].data.u64, 0);
    _exit(0);
  }
  checkpoint_here();
  CHECK_EQUAL(write(pair[1], "x", 1), 1);
  expect_child_passes(child);
  MUST(eventfd_write(event_fd, 1));
  const struct itimerspec soon = {.it_value.tv_nsec = 1};
  MUST(timerfd_settime(timer, 0, &soon, NULL));
  MUST(kill(getpid(), SIGUSR2));
  CHECK_EQUAL(write(fifo, "x", 1), 1);
  MUST(chmod(scratch_path("fifo"), 0644));
  CHECK_EQUAL(write(terminal[1], "x", 1), 1);
  sleep_ms(20);
  const int count = epoll_wait(set, found, kTargets + 1, 1000);
  unsigned seen = 0;
  for (int i = 0; i < count; i++) seen |= 1u << found[i].data.u64;
  CHECK_EQUAL(seen, (1u << kTargets) - 1);
  return 0;
}
