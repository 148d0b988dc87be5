// A thread in sigsuspend() stays there until its signal comes, and has its own mask back afterwards.
// covers: signal-mask
#include "check.h"

static volatile pid_t tid;
static volatile int handled;
static volatile int released;

static void on_signal(int number) { handled = number; }

static void* waiter(void* argument) {
  (void)argument;
  sigset_t blocked, temporary, seen;
  sigfillset(&blocked);
  pthread_sigmask(SIG_SETMASK, &blocked, NULL);
  sigfillset(&temporary);
  sigdelset(&temporary, SIGUSR1);
  tid = gettid();
  const int result = sigsuspend(&temporary);
  CHECK(result == -1 && errno == EINTR, "sigsuspend returned %d", result);
  CHECK(released, "sigsuspend returned before the signal was sent");
  CHECK_EQUAL(handled, SIGUSR1);
  pthread_sigmask(SIG_SETMASK, NULL, &seen);
  CHECK(sigismember(&seen, SIGUSR1) == 1 && sigismember(&seen, SIGTERM) == 1, "the mask was not restored");
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGUSR1, on_signal);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  pthread_t thread = start_thread(waiter, NULL);
  while (tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), tid, SYS_rt_sigsuspend);
  checkpoint_here();
  wait_asleep_in(getpid(), tid, SYS_rt_sigsuspend);
  CHECK_EQUAL(handled, 0);
  released = 1;
  pthread_kill(thread, SIGUSR1);
  pthread_join(thread, NULL);
  sigset_t seen;
  sigprocmask(SIG_BLOCK, NULL, &seen);
  CHECK(sigismember(&seen, SIGUSR1) == 1 && sigismember(&seen, SIGUSR2) == 1 && sigismember(&seen, SIGTERM) == 0, "main thread's mask");
  return 0;
}
