// A priority-inheritance mutex, whose state lies in the kernel while it is contended, is handed on.
#include "check.h"

static pthread_mutex_t mutex;
static volatile pid_t tid;
static volatile bool got;

static void* waiter(void* argument) {
  (void)argument;
  tid = gettid();
  CHECK_EQUAL(pthread_mutex_lock(&mutex), 0);
  got = true;
  pthread_mutex_unlock(&mutex);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(&mutex, &attributes);
  pthread_mutex_lock(&mutex);
  pthread_t thread = start_thread(waiter, NULL);
  while (tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), tid, SYS_futex);
  checkpoint_here();
  CHECK(!got, "it has the mutex too early");
  CHECK_EQUAL(pthread_mutex_unlock(&mutex), 0);
  pthread_join(thread, NULL);
  CHECK(got, "it never got the mutex");
  CHECK_EQUAL(pthread_mutex_lock(&mutex), 0);
  return 0;
}
