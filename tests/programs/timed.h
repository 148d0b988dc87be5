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
  int64_t started_ms;
  long seen_result;
  int seen_error;
  volatile int64_t ended_ms;  ///< 0 until the call has ended
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
  timed->started_ms = monotonic_ms();
  errno = 0;
  timed->seen_result = timed->call();
  timed->seen_error = errno;
  timed->ended_ms = monotonic_ms();
  return NULL;
}

/// Looks every few milliseconds until the call has ended. While a slow machine lets nobody run, no call can end either: returns when the longest such
/// time was over, and in `stalled_ms` what the others come to.
static MAYBE_UNUSED int64_t watch(const struct timed_call* timed, int64_t* stalled_ms) {
  enum { kStallMs = 50 };
  int64_t longest_ms = 0, longest_end_ms = 0;
  *stalled_ms = 0;
  for (int64_t last_ms = monotonic_ms(); timed->ended_ms == 0;) {
    sleep_ms(5);
    const int64_t now_ms = monotonic_ms(), gap_ms = now_ms - last_ms;
    last_ms = now_ms;
    if (gap_ms > kStallMs) *stalled_ms += gap_ms < longest_ms ? gap_ms : longest_ms;
    if (gap_ms <= longest_ms) continue;
    longest_ms = gap_ms;
    longest_end_ms = now_ms;
  }
  return longest_end_ms;
}

/// The whole program: blocks a second thread in the call and takes the checkpoint when kElapsedMs of its timeout are over.
static MAYBE_UNUSED int run_timed(struct timed_call timed) {
  const int64_t started = monotonic_ms();
  pthread_t thread = start_thread(timed_thread, &timed);
  while (timed.tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), timed.tid, timed.number);
  while (monotonic_ms() < started + kElapsedMs) sleep_ms(5);
  announce_ready(0);
  int64_t stalled_ms;
  const int64_t resumed_ms = watch(&timed, &stalled_ms) - timed.started_ms;
  wait_released(0);
  pthread_join(thread, NULL);
  CHECK(timed.seen_result == timed.result, "the call returned %ld, not %ld", timed.seen_result, timed.result);
  CHECK(timed.seen_result != -1 || timed.seen_error == timed.error, "the call failed with %s, not %s", strerror(timed.seen_error), strerror(timed.error));
  const int64_t lasted_ms = timed.ended_ms - timed.started_ms;
  const int64_t longest_ms = (resumed_ms > kTimeoutMs ? resumed_ms : kTimeoutMs) + kToleranceMs + stalled_ms;
  CHECK(lasted_ms >= kTimeoutMs - 2, "the call lasted %lld ms, too short for %d", (long long)lasted_ms, kTimeoutMs);
  CHECK(lasted_ms <= longest_ms, "the call lasted %lld ms, too long for %lld", (long long)lasted_ms, (long long)longest_ms);
  return 0;
}
