// Each thread keeps its own signal mask.
// covers: signal-mask
#include "check.h"

enum { kThreads = 4 };
static volatile int ready_count;
static volatile bool done;

static void* thread(void* argument) {
  const intptr_t number = (intptr_t)argument;
  sigset_t mask, seen;
  sigemptyset(&mask);
  for (int i = 1; i < 64; i++)
    if (i != SIGKILL && i != SIGSTOP && i != 32 && i != 33 && i % (number + 2) == 0) sigaddset(&mask, i);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  __atomic_add_fetch(&ready_count, 1, __ATOMIC_SEQ_CST);
  while (!done) sleep_ms(1);
  sigemptyset(&seen);
  pthread_sigmask(SIG_SETMASK, NULL, &seen);
  for (int i = 1; i < 64; i++)
    if (i != 32 && i != 33) CHECK(sigismember(&seen, i) == sigismember(&mask, i), "thread %d, signal %d: %d", (int)number, i, sigismember(&seen, i));
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) threads[i] = start_thread(thread, (void*)i);
  while (ready_count < kThreads) sleep_ms(1);
  checkpoint_here();
  done = true;
  for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
  return 0;
}
