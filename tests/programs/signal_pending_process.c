// Signals queued to a process and not yet delivered come, with all of their siginfo, in order, none twice and none too few.
// covers: signals-pending
#include "check.h"

enum { kQueued = 20 };

static void queue(int number, int value) { MUST(sigqueue(getpid(), number, (union sigval){.sival_int = value})); }

static void expect(sigset_t* set, int number, int code, int value) {
  siginfo_t info;
  const struct timespec now = {0, 0};
  const int got = sigtimedwait(set, &info, &now);
  CHECK(got == number, "signal %d, not %d", got, number);
  CHECK_EQUAL(info.si_code, code);
  CHECK_EQUAL(info.si_pid, getpid());
  CHECK_EQUAL(info.si_uid, getuid());
  if (code == SI_QUEUE) CHECK_EQUAL(info.si_value.sival_int, value);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  for (int i = 0; i < kQueued; i++) queue(SIGRTMIN + 5, 1000 + i);
  queue(SIGRTMIN + 2, 77);
  queue(SIGRTMIN + 2, 78);
  MUST(kill(getpid(), SIGUSR1));
  MUST(kill(getpid(), SIGUSR1));
  queue(SIGUSR2, 99);
  checkpoint_here();
  expect(&all, SIGUSR1, SI_USER, 0);
  expect(&all, SIGUSR2, SI_QUEUE, 99);
  expect(&all, SIGRTMIN + 2, SI_QUEUE, 77);
  expect(&all, SIGRTMIN + 2, SI_QUEUE, 78);
  for (int i = 0; i < kQueued; i++) expect(&all, SIGRTMIN + 5, SI_QUEUE, 1000 + i);
  const struct timespec now = {0, 0};
  CHECK(sigtimedwait(&all, NULL, &now) == -1 && errno == EAGAIN, "a signal too many");
  return 0;
}
