// Threads that wait for a futex until one deadline after the other, by either clock, see nothing but ETIMEDOUT, not too early, through several crashes.
// covers: threads
// rounds: 5
// timeout: 60
#include <linux/futex.h>

#include "check.h"

enum { kThreads = 8, kRounds = 5 };
static uint32_t word;
static volatile bool done;

static void* wait_again_and_again(void* argument) {
  const intptr_t number = (intptr_t)argument;
  const clockid_t clock = number % 2 == 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
  const int operation = FUTEX_WAIT_BITSET_PRIVATE | (clock == CLOCK_REALTIME ? FUTEX_CLOCK_REALTIME : 0);
  const int64_t interval_ns = (5 + 17 * number) * 1000000ll;
  for (int64_t deadline_ns = clock_now_ns(clock); !done;) {
    deadline_ns = clock_now_ns(clock) + interval_ns;
    const struct timespec deadline = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    errno = 0;
    const long result = syscall(SYS_futex, &word, operation, 0, &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
    CHECK(result == -1 && errno == ETIMEDOUT, "thread %d: futex wait returned %ld", (int)number, result);
    CHECK(clock_now_ns(clock) >= deadline_ns, "thread %d: too early", (int)number);
  }
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) threads[i] = start_thread(wait_again_and_again, (void*)i);
  for (int round = 1; round <= kRounds; round++) {
    checkpoint_round(round);
    sleep_ms(200);
  }
  done = true;
  for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
  return 0;
}
