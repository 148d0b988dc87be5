// A parent blocked in wait4() gets the status of a child that ends after the checkpoint, and no EINTR.
// covers: blocked-syscalls
#include "check.h"

static volatile pid_t tid;
static volatile pid_t child;

static void* waiter(void* argument) {
  (void)argument;
  tid = gettid();
  int status;
  const pid_t waited = wait4(child, &status, 0, NULL);
  CHECK(waited == child, "wait4 returned %d", waited);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42, "wait status 0x%x", status);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  child = MUST(fork());
  if (child == 0) {
    wait_released(0);
    wait_mark("end");
    _exit(42);
  }
  pthread_t thread = start_thread(waiter, NULL);
  while (tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), tid, SYS_wait4);
  checkpoint_here();
  wait_asleep_in(getpid(), tid, SYS_wait4);
  mark("end");
  pthread_join(thread, NULL);
  return 0;
}
