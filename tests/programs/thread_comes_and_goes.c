// Threads that start and end all the time are caught by checkpoints in the middle of it; each can be joined, and none runs twice.
// timeout: 60
#include "check.h"

static uint64_t started, ended;

static void* brief(void* argument) {
  __atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
  return argument;
}

static void start_and_join(void* argument) {
  (void)argument;
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) threads[i] = start_thread(brief, (void*)++started);
  for (int i = 0; i < 4; i++) {
    void* result;
    CHECK_EQUAL(pthread_join(threads[i], &result), 0);
    CHECK_EQUAL((uint64_t)result, started - 3 + i);
  }
  CHECK_EQUAL(ended, started);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  checkpoint_while(start_and_join, NULL);
  for (int i = 0; i < 20; i++) start_and_join(NULL);
  return 0;
}
