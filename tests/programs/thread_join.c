// pthread_join() of a thread that ends after the restore returns: the kernel clears its id and wakes the waiter.
// covers: threads
#include "check.h"

static volatile pid_t tid;
static volatile bool end;

static void* joined(void* argument) {
  while (!end) sleep_ms(2);
  return argument;
}

static void* joiner(void* argument) {
  void* result = NULL;
  tid = gettid();
  CHECK_EQUAL(pthread_join(*(pthread_t*)argument, &result), 0);
  return result;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t first = start_thread(joined, (void*)0x1234);
  pthread_t second = start_thread(joiner, &first);
  while (tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), tid, SYS_futex);
  checkpoint_here();
  end = true;
  void* result = NULL;
  CHECK_EQUAL(pthread_join(second, &result), 0);
  CHECK(result == (void*)0x1234, "the result is %p", result);
  return 0;
}
