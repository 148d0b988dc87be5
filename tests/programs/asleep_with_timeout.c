// Threads asleep with a timeout of two seconds: each returns when it is over, not before, and not two seconds after the restore.
#include "inet.h"
#include "sleepers.h"
#include <mqueue.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>

static const struct timespec two_seconds = {2, 0};

static struct timespec in_two_seconds(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  time.tv_sec += 2;
  return time;
}

/// What a call with a deadline on the wall clock returned, or an error of no such call if that is not over. The wall clock goes on while the
/// program is away, the monotonic one, by which the others are measured, does not.
static long not_before(struct timespec until, long result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const bool over = now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec);
  if (over) return result;
  errno = EILSEQ;
  return -1;
}

static long in_poll(void* fd) {
  struct pollfd polled = {*(int*)fd, POLLIN, 0};
  return poll(&polled, 1, 2000);
}
static long in_ppoll(void* fd) {
  struct pollfd polled = {*(int*)fd, POLLIN, 0};
  return ppoll(&polled, 1, &two_seconds, NULL);
}
static long in_select(void* fd) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(*(int*)fd, &set);
  struct timespec timeout = two_seconds;
  return pselect(*(int*)fd + 1, &set, NULL, NULL, &timeout, NULL);
}
static long in_epoll_wait(void* fd) {
  const int set = MUST(epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN};
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, *(int*)fd, &event));
  return epoll_pwait(set, &event, 1, 2000, NULL);
}
static long in_nanosleep(void* unused) {
  (void)unused;
  return syscall(SYS_nanosleep, &two_seconds, NULL);
}
static long in_clock_nanosleep(void* unused) {
  (void)unused;
  const struct timespec until = in_two_seconds(CLOCK_REALTIME);
  return not_before(until, syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
}
static long in_recv(void* fd) { return recv(*(int*)fd, (char[4]){0}, 4, 0); }
static long in_splice(void* socket) {
  int ends[2];
  MUST(pipe(ends));
  return splice(*(int*)socket, NULL, ends[1], NULL, 4, 0);
}
static long in_accept(void* fd) { return accept(*(int*)fd, NULL, NULL); }
static long in_semtimedop(void* set) {
  struct sembuf operation = {0, -1, 0};
  return semtimedop(*(int*)set, &operation, 1, &two_seconds);
}
static long in_mq_receive(void* queue) {
  char text[64];
  const struct timespec until = in_two_seconds(CLOCK_REALTIME);
  const long result = mq_timedreceive(*(mqd_t*)queue, text, sizeof text, NULL, &until);
  return result < 0 && errno != ETIMEDOUT ? result : not_before(until, result);
}
static long in_sigtimedwait(void* unused) {
  (void)unused;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  return sigtimedwait(&set, NULL, &two_seconds);
}
static long in_futex(void* unused) {
  (void)unused;
  int word = 0;
  return syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 0, &two_seconds, NULL, 0);
}

static bool is_by_wall_clock(const struct sleeper* sleeper) {
  return sleeper->number == SYS_clock_nanosleep || sleeper->number == SYS_mq_timedreceive;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  MUST(sigprocmask(SIG_BLOCK, &blocked, NULL));
  int ends[2], pair[2], spliced[2], listener = bound(SOCK_STREAM, 0), set = MUST(semget(IPC_PRIVATE, 1, 0600));
  MUST(pipe(ends));
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, spliced));
  MUST(listen(listener, 1));
  const struct timeval timeout = {2, 0};
  MUST(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
  MUST(setsockopt(spliced[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
  MUST(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
  struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 64};
  mqd_t queue = MUST(mq_open("/perdure-test", O_RDWR | O_CREAT, 0600, &attributes));
  MUST(mq_unlink("/perdure-test"));
  struct sleeper sleepers[] = {
      SLEEPER("poll", SYS_poll, in_poll, &ends[0]),
      SLEEPER("ppoll", SYS_ppoll, in_ppoll, &ends[0]),
      SLEEPER("pselect", SYS_pselect6, in_select, &ends[0]),
      SLEEPER("epoll_pwait", SYS_epoll_pwait, in_epoll_wait, &ends[0]),
      SLEEPER("nanosleep", SYS_nanosleep, in_nanosleep, NULL),
      SLEEPER("clock_nanosleep", SYS_clock_nanosleep, in_clock_nanosleep, NULL),
      SLEEPER("recv", SYS_recvfrom, in_recv, &pair[0]),
      SLEEPER("splice", SYS_splice, in_splice, &spliced[0]),
      SLEEPER("accept", SYS_accept, in_accept, &listener),
      SLEEPER("semtimedop", SYS_semtimedop, in_semtimedop, &set),
      SLEEPER("mq_timedreceive", SYS_mq_timedreceive, in_mq_receive, &queue),
      SLEEPER("sigtimedwait", SYS_rt_sigtimedwait, in_sigtimedwait, NULL),
      SLEEPER("futex", SYS_futex, in_futex, NULL),
  };
  const long expected[] = {0, 0, 0, 0, 0, 0, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN, -ETIMEDOUT, -EAGAIN, -ETIMEDOUT};
  enum { kCount = sizeof sleepers / sizeof *sleepers };
  const int64_t begin_ms = monotonic_ms();
  start_sleepers(sleepers, kCount);
  checkpoint_here();
  const int64_t back_ms = monotonic_ms() - begin_ms;  // the program may have been away for longer than its timeouts
  for (int i = 0; i < kCount; i++) {
    expect_returns(&sleepers[i], expected[i]);
    CHECK(is_by_wall_clock(&sleepers[i]) || sleepers[i].elapsed_ms >= 1990, "%s returned after %lld ms", sleepers[i].name, (long long)sleepers[i].elapsed_ms);
  }
  // None begins its timeout anew: on a busy machine they are all late. (A wall clock has gone on while the program was away.)
  int64_t first_ms = INT64_MAX;
  for (int i = 0; i < kCount; i++)
    if (!is_by_wall_clock(&sleepers[i]) && sleepers[i].elapsed_ms < first_ms) first_ms = sleepers[i].elapsed_ms;
  const int64_t limit_ms = (first_ms > back_ms ? first_ms : back_ms) + 1300;
  for (int i = 0; i < kCount; i++)
    CHECK(sleepers[i].elapsed_ms < limit_ms, "%s returned only after %lld ms, another after %lld", sleepers[i].name, (long long)sleepers[i].elapsed_ms,
          (long long)first_ms);
  MUST(semctl(set, 0, IPC_RMID));
  return 0;
}
