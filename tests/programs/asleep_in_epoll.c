// Threads asleep without a timeout in epoll_wait, poll, select, ppoll with a signal mask of its own, sigsuspend, pause, sigwaitinfo and futex.
// covers: epoll, signalfd
#include "sleepers.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>

static int word;
static long in_epoll_wait(void* set) {
  struct epoll_event event;
  const int count = epoll_wait(*(int*)set, &event, 1, -1);
  return count == 1 ? (long)event.data.u64 : -1;
}
static long in_poll(void* fd) {
  struct pollfd polled = {*(int*)fd, POLLIN, 0};
  return poll(&polled, 1, -1);
}
static long in_select(void* fd) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(*(int*)fd, &set);
  return syscall(SYS_select, *(int*)fd + 1, &set, NULL, NULL, NULL);
}
static long in_ppoll(void* fd) {
  sigset_t none;
  sigemptyset(&none);
  struct pollfd polled = {*(int*)fd, POLLIN, 0};
  return ppoll(&polled, 1, NULL, &none);
}
static long in_sigsuspend(void* unused) {
  (void)unused;
  sigset_t none;
  sigemptyset(&none);
  return sigsuspend(&none);
}
static long in_signalfd(void* fd) {
  struct signalfd_siginfo information;
  return read(*(int*)fd, &information, sizeof information) == sizeof information ? (long)information.ssi_signo : -1;
}
static long in_sigwaitinfo(void* unused) {
  (void)unused;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 4);
  return sigwaitinfo(&set, NULL);
}
static long in_futex(void* unused) {
  (void)unused;
  return syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
}
static volatile sig_atomic_t handled;
static void on_signal(int number) { handled = number; }

int main(int argc, char** argv) {
  begin(argc, argv);
  const struct sigaction action = {.sa_handler = on_signal};
  MUST(sigaction(SIGUSR1, &action, NULL));
  sigset_t blocked, for_fd;
  sigfillset(&blocked);
  MUST(sigprocmask(SIG_BLOCK, &blocked, NULL));
  sigemptyset(&for_fd);
  sigaddset(&for_fd, SIGUSR2);
  int signal_fd = MUST(signalfd(-1, &for_fd, 0)), set = MUST(epoll_create1(0)), ends[4][2];
  for (int i = 0; i < 4; i++) MUST(pipe(ends[i]));
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 12345};
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, ends[0][0], &event));
  struct sleeper sleepers[] = {
      SLEEPER("epoll_wait", SYS_epoll_wait, in_epoll_wait, &set),     SLEEPER("poll", SYS_poll, in_poll, &ends[1][0]),
      SLEEPER("select", SYS_select, in_select, &ends[2][0]),          SLEEPER("ppoll", SYS_ppoll, in_ppoll, &ends[3][0]),
      SLEEPER("sigsuspend", SYS_rt_sigsuspend, in_sigsuspend, NULL),  SLEEPER("read of a signalfd", SYS_read, in_signalfd, &signal_fd),
      SLEEPER("sigwaitinfo", SYS_rt_sigtimedwait, in_sigwaitinfo, NULL), SLEEPER("futex", SYS_futex, in_futex, NULL),
  };
  enum { kCount = sizeof sleepers / sizeof *sleepers };
  start_sleepers(sleepers, kCount);
  checkpoint_here();
  expect_asleep(sleepers, kCount);
  for (int i = 0; i < 3; i++) {
    CHECK_EQUAL(write(ends[i][1], "x", 1), 1);
    expect_returns(&sleepers[i], i == 0 ? 12345 : 1);
  }
  CHECK_EQUAL(syscall(SYS_tgkill, getpid(), sleepers[3].tid, SIGUSR1), 0);
  expect_returns(&sleepers[3], -EINTR);
  CHECK_EQUAL(handled, SIGUSR1);
  CHECK_EQUAL(syscall(SYS_tgkill, getpid(), sleepers[4].tid, SIGUSR1), 0);
  expect_returns(&sleepers[4], -EINTR);
  MUST(kill(getpid(), SIGUSR2));
  expect_returns(&sleepers[5], SIGUSR2);
  MUST(kill(getpid(), SIGRTMIN + 4));
  expect_returns(&sleepers[6], SIGRTMIN + 4);
  word = 1;
  CHECK_EQUAL(syscall(SYS_futex, &word, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0), 1);
  expect_returns(&sleepers[7], 0);
  return 0;
}
