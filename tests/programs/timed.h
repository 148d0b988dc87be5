// For programs that are blocked in a call with a timeout: the call must last as long as it would have lasted undisturbed, no more than a
// wake-up later, however often it was looked at, stopped, or killed and restored meanwhile.
#pragma once
#include "check.h"

enum {
  kTimeoutMs = 2500,
  /// How much of the timeout is over before the checkpoint: what a call started anew would last too long.
  kElapsedMs = 1300,
  kToleranceMs = 900,
};

struct timed_call {
  long (*call)(void);  ///< blocks for kTimeoutMs
  long number;         ///< the system call it blocks in
  long result;         ///< what it returns
  int error;           ///< errno that goes with -1
  volatile pid_t tid;
};

static MAYBE_UNUSED struct timespec timeout_timespec(void) {
  return (struct timespec){kTimeoutMs / 1000, kTimeoutMs % 1000 * 1000000l};
}

/// kTimeoutMs from now on `clock`.
static MAYBE_UNUSED struct timespec deadline_timespec(clockid_t clock) {
  const int64_t deadline = clock_now_ns(clock) + kTimeoutMs * 1000000ll;
  return (struct timespec){deadline / 1000000000, deadline % 1000000000};
}

static MAYBE_UNUSED void* timed_thread(void* argument) {
  struct timed_call* timed = argument;
  timed->tid = gettid();
  const int64_t started = monotonic_ms();
  errno = 0;
  const long result = timed->call();
  const int error = errno;
  const int64_t lasted = monotonic_ms() - started;
  CHECK(result == timed->result, "the call returned %ld, not %ld", result, timed->result);
  CHECK(result != -1 || error == timed->error, "the call failed with %s, not %s", strerror(error), strerror(timed->error));
  CHECK(lasted >= kTimeoutMs - 2, "the call lasted %lld ms, too short for %d", (long long)lasted, kTimeoutMs);
  CHECK(lasted <= kTimeoutMs + kToleranceMs, "the call lasted %lld ms, too long for %d", (long long)lasted, kTimeoutMs);
  return NULL;
}

/// The whole program: blocks a second thread in the call and takes the checkpoint when kElapsedMs of its timeout are over.
static MAYBE_UNUSED int run_timed(struct timed_call timed) {
  const int64_t started = monotonic_ms();
  pthread_t thread = start_thread(timed_thread, &timed);
  while (timed.tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), timed.tid, timed.number);
  while (monotonic_ms() < started + kElapsedMs) sleep_ms(5);
  checkpoint_here();
  pthread_join(thread, NULL);
  return 0;
}
