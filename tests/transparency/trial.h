// One trial: one blocking system call, what arrives while it sleeps, and what it returned.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum timeout { timeout_none, timeout_short, timeout_long, timeout_kinds };
enum signalling { signal_none, signal_handler, signal_restart, signalling_kinds };
enum arrival { arrives_nothing, arrives_half, arrives_all, arrival_kinds };

/// Large enough that a pipe or a socket buffer cannot hold it.
enum { transfer_bytes = 400 * 1024 };

struct trial {
  enum timeout timeout;
  enum signalling signalling;
  enum arrival arrival;
  int timeout_ms;  // -1: none

  int near, far;  // the descriptor that blocks, and the one that feeds or drains it
  int extra, extra_far;
  int identifier;  // a SysV object, a child, whatever the case needs
  int holder_command, holder_pid;
  void* memory;
  char* buffer;  // transfer_bytes long

  long result;
  int error;
  int left_ms;  // what the call said is left of its timeout; -1 where it says nothing
  char detail[120];
  atomic_long moved;     // bytes that reached the other side
  atomic_int arriving;   // 1: arrive() is at work; 2: it is done
};

/// Which variants of a case make sense.
enum {
  has_timeout = 1,      // runs without, with a short and with a long one
  must_timeout = 2,     // never runs without
  has_half = 4,         // something can arrive that is not enough
  has_no_arrival = 8,   // nothing can arrive at all (sleeps)
  no_signal_variants = 16,  // the signal is the arrival, or handlers make no difference
};

struct blocking_case {
  const char* name;
  int variants;
  void (*prepare)(struct trial* trial);
  long (*block)(struct trial* trial);  // the call; errno as it left it
  void (*arrive)(struct trial* trial);  // runs in another thread, for arrives_half and arrives_all
  void (*finish)(struct trial* trial);  // removes what would outlive the process
};

extern const struct blocking_case stream_cases[], wait_cases[], ipc_cases[];
extern const unsigned stream_case_count, wait_case_count, ipc_case_count;

/// Ends the trial's process: the machine, not the call under test, did not do what the case needs.
_Noreturn void setup_failed(const char* what);
#define NEED(expression)                                     \
  ({                                                         \
    __auto_type need_result = (expression);                  \
    if (need_result == (__typeof__(need_result))-1) setup_failed(#expression); \
    need_result;                                             \
  })

/// The trial's timeout as the kernel's structures want it; null for none.
const struct timespec* relative_timeout(const struct trial* trial, struct timespec* to);
const struct timespec* absolute_timeout(const struct trial* trial, clockid_t clock, struct timespec* to);
int64_t now_ns(clockid_t clock);
int milliseconds(const struct timespec* time);

/// Fills the descriptor until it would block; leaves it blocking. Returns the bytes written.
long fill_to_the_brim(int fd);
/// Fills the trial's buffer with its pattern.
void make_pattern(struct trial* trial);
/// Reads `count` bytes, or to the end, adds them to trial->moved and checks that they continue the pattern.
void drain(struct trial* trial, int fd, long count);
/// Writes `count` bytes of the pattern, from `offset` on.
void feed(int fd, long offset, long count);
/// Notes whether the first `count` bytes of the trial's buffer are what feed() writes from 0 on.
void describe_pattern(struct trial* trial, long count);

/// Forks a process that runs hold(), then reads one byte per command from trial->holder_command and calls command(byte).
void start_holder(struct trial* trial, void (*hold)(struct trial*), void (*command)(struct trial*, char));
void tell_holder(struct trial* trial, char byte);
