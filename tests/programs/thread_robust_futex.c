// A robust mutex whose owner ends after the restore, without unlocking it, goes to the next one with EOWNERDEAD.
// covers: futex-robust
#include "check.h"

static pthread_mutex_t mutex;
static volatile bool locked, end;

static void* owner(void* argument) {
  (void)argument;
  CHECK_EQUAL(pthread_mutex_lock(&mutex), 0);
  locked = true;
  while (!end) sleep_ms(1);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&mutex, &attributes);
  pthread_t thread = start_thread(owner, NULL);
  while (!locked) sleep_ms(1);
  checkpoint_here();
  CHECK_EQUAL(pthread_mutex_trylock(&mutex), EBUSY);
  end = true;
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += 15;
  CHECK_EQUAL(pthread_mutex_timedlock(&mutex, &deadline), EOWNERDEAD);
  pthread_mutex_consistent(&mutex);
  pthread_mutex_unlock(&mutex);
  pthread_join(thread, NULL);
  return 0;
}
