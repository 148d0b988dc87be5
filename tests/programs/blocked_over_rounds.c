// Threads that sleep in a futex without a timeout through several crashes in a row are woken once, by what wakes them, while another thread is busy.
// covers: threads
// rounds: 5
// timeout: 60
#include <linux/futex.h>

#include "check.h"

enum { kThreads = 6, kRounds = 5 };
static uint32_t word;
static volatile pid_t tids[kThreads];
static volatile bool done;
static int woken;

static void* waiter(void* argument) {
  tids[(intptr_t)argument] = gettid();
  const long result = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, FUTEX_BITSET_MATCH_ANY);
  CHECK(result == 0, "futex wait returned %ld", result);
  CHECK(__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 1, "woken without reason");
  __atomic_add_fetch(&woken, 1, __ATOMIC_RELAXED);
  return NULL;
}

static void* busy(void* argument) {
  (void)argument;
  for (uint64_t i = 0; !done; i++)
    if (i % 1024 == 0) syscall(SYS_getppid);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) threads[i] = start_thread(waiter, (void*)i);
  for (int i = 0; i < kThreads; i++) {
    while (tids[i] == 0) sleep_ms(1);
    wait_asleep_in(getpid(), tids[i], SYS_futex);
  }
  pthread_t other = start_thread(busy, NULL);
  for (int round = 1; round <= kRounds; round++) {
    checkpoint_round(round);
    CHECK_EQUAL(woken, 0);
    sleep_ms(50);
  }
  done = true;
  pthread_join(other, NULL);
  __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, kThreads);
  for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
  CHECK_EQUAL(woken, kThreads);
  return 0;
}
