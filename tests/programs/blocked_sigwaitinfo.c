// A thread in sigwaitinfo() without a timeout gets the signal that is queued to it after the checkpoint, with its value.
// covers: threads
#include "check.h"

static volatile pid_t tid;

static void* waiter(void* argument) {
  sigset_t* set = argument;
  siginfo_t info;
  tid = gettid();
  const int number = sigwaitinfo(set, &info);
  CHECK(number == SIGRTMIN + 3, "sigwaitinfo returned %d", number);
  CHECK_EQUAL(info.si_value.sival_int, 4711);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 3);
  sigprocmask(SIG_BLOCK, &set, NULL);
  pthread_t thread = start_thread(waiter, &set);
  while (tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), tid, SYS_rt_sigtimedwait);
  checkpoint_here();
  wait_asleep_in(getpid(), tid, SYS_rt_sigtimedwait);
  pthread_sigqueue(thread, SIGRTMIN + 3, (union sigval){.sival_int = 4711});
  pthread_join(thread, NULL);
  return 0;
}
