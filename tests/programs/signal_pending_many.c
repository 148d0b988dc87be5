// Hundreds of signals that wait, for the process and for one thread, all come back, in order.
// covers: signals-pending
// timeout: 90
#include "check.h"

enum { kOfProcess = 700, kOfThread = 600 };

static void expect(int number, int value) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  siginfo_t info;
  const struct timespec now = {0, 0};
  CHECK_EQUAL(sigtimedwait(&one, &info, &now), number);
  CHECK_EQUAL(info.si_value.sival_int, value);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  sigset_t all;
  sigfillset(&all);
  MUST(sigprocmask(SIG_BLOCK, &all, NULL));
  for (int i = 0; i < kOfProcess; i++) MUST(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}));
  for (int i = 0; i < kOfThread; i++) CHECK_EQUAL(pthread_sigqueue(pthread_self(), SIGRTMIN + 1, (union sigval){.sival_int = i}), 0);
  checkpoint_here();
  for (int i = 0; i < kOfProcess; i++) expect(SIGRTMIN, i);
  for (int i = 0; i < kOfThread; i++) expect(SIGRTMIN + 1, i);
  sigset_t pending;
  MUST(sigpending(&pending));
  CHECK(sigismember(&pending, SIGRTMIN) == 0 && sigismember(&pending, SIGRTMIN + 1) == 0, "there are more than were sent");
  return 0;
}
