// A parent blocked in waitid() for a stop of its child sees the stop, which happens after the checkpoint.
// covers: blocked-syscalls
#include "check.h"

static volatile pid_t tid;
static volatile pid_t child;

static void* waiter(void* argument) {
  (void)argument;
  tid = gettid();
  siginfo_t info = {0};
  const int result = waitid(P_PID, child, &info, WSTOPPED);
  CHECK(result == 0, "waitid returned %d", result);
  CHECK(info.si_pid == child && info.si_code == CLD_STOPPED && info.si_status == SIGSTOP, "si_pid %d, si_code %d, si_status %d", info.si_pid,
        info.si_code, info.si_status);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  child = MUST(fork());
  if (child == 0) {
    for (;;) pause();
  }
  pthread_t thread = start_thread(waiter, NULL);
  while (tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), tid, SYS_waitid);
  checkpoint_here();
  wait_asleep_in(getpid(), tid, SYS_waitid);
  kill(child, SIGSTOP);
  pthread_join(thread, NULL);
  kill(child, SIGKILL);
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "wait status 0x%x", status);
  return 0;
}
