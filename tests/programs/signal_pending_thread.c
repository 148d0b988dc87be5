// Signals queued to one thread are pending for that thread only, before and after.
// covers: signals-pending
#include "check.h"

static volatile bool blocked, end;

static void expect(int number, int value) {
  sigset_t all;
  sigfillset(&all);
  siginfo_t info;
  const struct timespec now = {0, 0};
  const int got = sigtimedwait(&all, &info, &now);
  CHECK(got == number, "signal %d, not %d", got, number);
  CHECK(info.si_value.sival_int == value, "value %d, not %d", info.si_value.sival_int, value);
}

static void* thread(void* argument) {
  (void)argument;
  blocked = true;
  while (!end) sleep_ms(1);
  expect(SIGRTMIN + 1, 11);
  expect(SIGRTMIN + 1, 12);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  pthread_t other = start_thread(thread, NULL);
  while (!blocked) sleep_ms(1);
  CHECK_EQUAL(pthread_sigqueue(other, SIGRTMIN + 1, (union sigval){.sival_int = 11}), 0);
  CHECK_EQUAL(pthread_sigqueue(other, SIGRTMIN + 1, (union sigval){.sival_int = 12}), 0);
  CHECK_EQUAL(pthread_sigqueue(pthread_self(), SIGRTMIN + 2, (union sigval){.sival_int = 21}), 0);
  checkpoint_here();
  sigset_t pending;
  MUST(sigpending(&pending));
  CHECK(sigismember(&pending, SIGRTMIN + 2) == 1 && sigismember(&pending, SIGRTMIN + 1) == 0, "the threads' signals are mixed up");
  expect(SIGRTMIN + 2, 21);
  end = true;
  pthread_join(other, NULL);
  return 0;
}
