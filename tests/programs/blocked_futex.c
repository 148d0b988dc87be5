// Threads that wait for a futex without a timeout are woken once, after the checkpoint as before: all of them, and by nothing else.
// covers: threads
#include <linux/futex.h>

#include "check.h"

enum { kThreads = 8 };
static uint32_t word;
static volatile pid_t tids[kThreads];
static int woken;

static void* waiter(void* argument) {
  tids[(intptr_t)argument] = gettid();
  const long result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL);
  CHECK(result == 0, "futex wait returned %ld", result);
  CHECK(__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 1, "woken without reason");
  __atomic_add_fetch(&woken, 1, __ATOMIC_RELAXED);
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
  checkpoint_here();
  for (int i = 0; i < kThreads; i++) wait_asleep_in(getpid(), tids[i], SYS_futex);
  CHECK_EQUAL(woken, 0);
  __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, kThreads);
  for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
  CHECK_EQUAL(woken, kThreads);
  return 0;
}
