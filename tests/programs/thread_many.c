// Sixty-four threads, each counting on its own stack and in thread-local memory, all run on where they were, under the same thread ids.
// covers: threads
// timeout: 90
#include "check.h"

enum { kThreads = 64 };
static volatile bool done;
static volatile pid_t tids[kThreads];
static __thread uint64_t local;

static void* count(void* argument) {
  const intptr_t number = (intptr_t)argument;
  volatile uint64_t on_stack = 0;
  const pid_t tid = gettid();
  tids[number] = tid;
  while (!done) {
    on_stack = on_stack + 1;
    local = on_stack * 3 + number;
    if (on_stack % 64 == 0) sleep_ms(1 + number % 7);
  }
  CHECK_EQUAL(local, on_stack * 3 + number);
  CHECK_EQUAL(gettid(), tid);
  return (void*)(number * 17);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) threads[i] = start_thread(count, (void*)i);
  for (int i = 0; i < kThreads; i++)
    while (tids[i] == 0) sleep_ms(1);
  checkpoint_here();
  for (int i = 0; i < kThreads; i++) MUST(syscall(SYS_tgkill, getpid(), tids[i], 0));
  done = true;
  for (intptr_t i = 0; i < kThreads; i++) {
    void* result;
    CHECK_EQUAL(pthread_join(threads[i], &result), 0);
    CHECK_EQUAL((intptr_t)result, i * 17);
  }
  return 0;
}
