// A process whose first thread has ended lives on in its other threads, and its parent still gets its status.
// covers: threads
#include "check.h"

static void* rest(void* argument) {
  (void)argument;
  for (;;) {
    char* state = status_field(getpid(), "State");
    const bool zombie = state[0] == 'Z';
    free(state);
    if (zombie) break;
    sleep_ms(2);
  }
  mark("alone");
  wait_released(0);
  _exit(33);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t child = MUST(fork());
  if (child == 0) {
    start_thread(rest, NULL);
    pthread_exit(NULL);
  }
  wait_mark("alone");
  checkpoint_here();
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 33, "wait status 0x%x", status);
  return 0;
}
