// A parent that waits in vfork() again and again, where nothing can stop it, is checkpointed in between, and sees every child end.
// timeout: 60
#include "check.h"

static void vfork_and_wait(void* argument) {
  (void)argument;
  const pid_t child = vfork();
  if (child == 0) {
    const struct timespec pause = {0, 3000000};
    nanosleep(&pause, NULL);
    _exit(9);
  }
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9, "wait status 0x%x", status);
  sleep_ms(10);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  checkpoint_while(vfork_and_wait, NULL);
  for (int i = 0; i < 5; i++) vfork_and_wait(NULL);
  return 0;
}
