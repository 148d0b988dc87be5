// Calls that wait: for readiness, for time, for a futex, for a signal, for a child.
#include "trial.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/wait.h>

static void with_pipe(struct trial* trial) {
  int ends[2];
  NEED(pipe(ends));
  trial->near = ends[0];
  trial->far = ends[1];
}
static void write_byte(struct trial* trial) { NEED(write(trial->far, "x", 1)); }

static long in_poll(struct trial* trial) {
  struct pollfd polled = {trial->near, POLLIN, 0};
  return poll(&polled, 1, trial->timeout_ms);
}
static long in_ppoll(struct trial* trial) {
  struct pollfd polled = {trial->near, POLLIN, 0};
  struct timespec left;
  sigset_t none;
  sigemptyset(&none);
  long result = syscall(SYS_ppoll, &polled, 1, relative_timeout(trial, &left), &none, 8);
  if (trial->timeout_ms >= 0) trial->left_ms = milliseconds(&left);
  return result;
}
static long in_select(struct trial* trial) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(trial->near, &set);
  struct timeval left = {trial->timeout_ms / 1000, trial->timeout_ms % 1000 * 1000};
  long result = syscall(SYS_select, trial->near + 1, &set, NULL, NULL, trial->timeout_ms >= 0 ? &left : NULL);
  if (trial->timeout_ms >= 0) trial->left_ms = (int)(left.tv_sec * 1000 + left.tv_usec / 1000);
  return result;
}
static long in_pselect(struct trial* trial) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(trial->near, &set);
  struct timespec left;
  long result = syscall(SYS_pselect6, trial->near + 1, &set, NULL, NULL, relative_timeout(trial, &left), NULL);
  if (trial->timeout_ms >= 0) trial->left_ms = milliseconds(&left);
  return result;
}

static void with_epoll(struct trial* trial) {
  with_pipe(trial);
  trial->extra = NEED(epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 99};
  NEED(epoll_ctl(trial->extra, EPOLL_CTL_ADD, trial->near, &event));
}
static long in_epoll_wait(struct trial* trial) {
  struct epoll_event events[4];
  return epoll_wait(trial->extra, events, 4, trial->timeout_ms);
}
static long in_epoll_pwait(struct trial* trial) {
  struct epoll_event events[4];
  sigset_t none;
  sigemptyset(&none);
  return epoll_pwait(trial->extra, events, 4, trial->timeout_ms, &none);
}
static long in_epoll_pwait2(struct trial* trial) {
  struct epoll_event events[4];
  struct timespec timeout;
  return syscall(SYS_epoll_pwait2, trial->extra, events, 4, relative_timeout(trial, &timeout), NULL, 8);
}

// Time

static long in_nanosleep(struct trial* trial) {
  struct timespec time, left = {0, 0};
  long result = syscall(SYS_nanosleep, relative_timeout(trial, &time), &left);
  if (result < 0) trial->left_ms = milliseconds(&left);
  return result;
}
static long in_clock_nanosleep(struct trial* trial) {
  struct timespec time, left = {0, 0};
  long result = syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, relative_timeout(trial, &time), &left);
  if (result < 0) trial->left_ms = milliseconds(&left);
  return result;
}
static long in_absolute_sleep(struct trial* trial) {
  struct timespec time;
  return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, absolute_timeout(trial, CLOCK_MONOTONIC, &time), NULL);
}
static long in_wall_clock_sleep(struct trial* trial) {
  struct timespec time;
  return syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, absolute_timeout(trial, CLOCK_REALTIME, &time), NULL);
}

// Futexes

static void with_word(struct trial* trial) {
  trial->memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (trial->memory == MAP_FAILED) setup_failed("mmap");
}
static long in_futex(struct trial* trial) {
  struct timespec timeout;
  return syscall(SYS_futex, trial->memory, FUTEX_WAIT, 0, relative_timeout(trial, &timeout), NULL, 0);
}
static long in_futex_bitset(struct trial* trial) {
  struct timespec timeout;
  return syscall(SYS_futex, trial->memory, FUTEX_WAIT_BITSET, 0, absolute_timeout(trial, CLOCK_MONOTONIC, &timeout), NULL, 2);
}
static long in_futex_waitv(struct trial* trial) {
  struct {
    uint64_t value, address;
    uint32_t flags, reserved;
  } waiters[2] = {{0, (uintptr_t)trial->memory, 2, 0}, {0, (uintptr_t)trial->memory + 64, 2, 0}};
  struct timespec timeout;
  return syscall(449 /* futex_waitv */, waiters, 2, 0, absolute_timeout(trial, CLOCK_MONOTONIC, &timeout), CLOCK_MONOTONIC);
}
static void wake(struct trial* trial) {
  long bits = trial->arrival == arrives_half ? 4 : 2;  // half: somebody else's bits
  if (trial->arrival == arrives_all) *(int*)trial->memory = 1;
  NEED(syscall(SYS_futex, trial->memory, FUTEX_WAKE_BITSET, INT_MAX, NULL, NULL, bits));
}
static void hold_pi_lock(struct trial* trial) { *(int*)trial->memory = (int)syscall(SYS_gettid); }
static void release_pi_lock(struct trial* trial, char byte) {
  (void)byte;
  NEED(syscall(SYS_futex, trial->memory, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
}
static void with_pi_lock(struct trial* trial) {
  with_word(trial);
  start_holder(trial, hold_pi_lock, release_pi_lock);
}
static long in_lock_pi(struct trial* trial) {
  struct timespec timeout;
  return syscall(SYS_futex, trial->memory, FUTEX_LOCK_PI, 0, absolute_timeout(trial, CLOCK_REALTIME, &timeout), NULL, 0);
}

// Signals

static long in_pause(struct trial* trial) {
  (void)trial;
  return syscall(SYS_pause);
}
static long in_sigsuspend(struct trial* trial) {
  (void)trial;
  sigset_t none;
  sigemptyset(&none);
  return sigsuspend(&none);
}
static void with_blocked_signals(struct trial* trial) {
  (void)trial;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigaddset(&set, SIGALRM);
  sigprocmask(SIG_BLOCK, &set, NULL);
}
static long in_sigtimedwait(struct trial* trial) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  struct timespec timeout;
  siginfo_t information = {0};
  long result = syscall(SYS_rt_sigtimedwait, &set, &information, relative_timeout(trial, &timeout), 8);
  if (result > 0) snprintf(trial->detail, sizeof trial->detail, "value %d", information.si_value.sival_int);
  return result;
}
static void queue_signal(struct trial* trial) {
  NEED(sigqueue(getpid(), trial->arrival == arrives_half ? SIGALRM : SIGUSR2, (union sigval){.sival_int = 4711}));
}

// Children

static void do_nothing(struct trial* trial) { (void)trial; }
static void end(struct trial* trial, char byte) {
  (void)trial;
  _exit(byte);
}
static void with_child(struct trial* trial) { start_holder(trial, do_nothing, end); }
static void end_child(struct trial* trial) {
  if (trial->arrival == arrives_half) {  // somebody else's child, in a way
    if (NEED(fork()) == 0) _exit(0);
    return;
  }
  tell_holder(trial, 33);
}
static long in_waitid(struct trial* trial) {
  siginfo_t information = {0};
  int result = waitid(P_PID, (id_t)trial->holder_pid, &information, WEXITED);
  return result < 0 ? result : information.si_status;
}
static long in_wait4(struct trial* trial) {
  int status = 0;
  long result = waitpid(trial->holder_pid, &status, 0);
  return result < 0 ? result : WEXITSTATUS(status);
}
static long in_poll_pidfd(struct trial* trial) {
  struct pollfd polled = {NEED((int)syscall(SYS_pidfd_open, trial->holder_pid, 0)), POLLIN, 0};
  return poll(&polled, 1, trial->timeout_ms);
}
static long in_vfork(struct trial* trial) {
  struct timespec time;
  relative_timeout(trial, &time);
  pid_t child = vfork();
  if (child == 0) {
    nanosleep(&time, NULL);
    _exit(0);
  }
  return child > 0 ? 0 : -1;
}

const struct blocking_case wait_cases[] = {
    {"poll", has_timeout, with_pipe, in_poll, write_byte, NULL},
    {"ppoll", has_timeout, with_pipe, in_ppoll, write_byte, NULL},
    {"select", has_timeout, with_pipe, in_select, write_byte, NULL},
    {"pselect6", has_timeout, with_pipe, in_pselect, write_byte, NULL},
    {"epoll_wait", has_timeout, with_epoll, in_epoll_wait, write_byte, NULL},
    {"epoll_pwait", has_timeout, with_epoll, in_epoll_pwait, write_byte, NULL},
    {"epoll_pwait2", has_timeout, with_epoll, in_epoll_pwait2, write_byte, NULL},
    {"nanosleep", must_timeout | has_no_arrival, NULL, in_nanosleep, NULL, NULL},
    {"clock_nanosleep", must_timeout | has_no_arrival, NULL, in_clock_nanosleep, NULL, NULL},
    {"clock_nanosleep absolute", must_timeout | has_no_arrival, NULL, in_absolute_sleep, NULL, NULL},
    {"clock_nanosleep wall clock", must_timeout | has_no_arrival, NULL, in_wall_clock_sleep, NULL, NULL},
    {"futex wait", has_timeout, with_word, in_futex, wake, NULL},
    {"futex wait bitset", has_timeout | has_half, with_word, in_futex_bitset, wake, NULL},
    {"futex waitv", has_timeout, with_word, in_futex_waitv, wake, NULL},
    {"futex lock pi", has_timeout, with_pi_lock, in_lock_pi, end_child, NULL},
    {"pause", has_no_arrival, NULL, in_pause, NULL, NULL},
    {"sigsuspend", has_no_arrival, NULL, in_sigsuspend, NULL, NULL},
    {"sigtimedwait", has_timeout | has_half, with_blocked_signals, in_sigtimedwait, queue_signal, NULL},
    {"waitid", has_half, with_child, in_waitid, end_child, NULL},
    {"wait4", has_half, with_child, in_wait4, end_child, NULL},
    {"poll pidfd", has_timeout, with_child, in_poll_pidfd, end_child, NULL},
    {"vfork", must_timeout | has_no_arrival, NULL, in_vfork, NULL, NULL},
};
const unsigned wait_case_count = sizeof wait_cases / sizeof *wait_cases;
