// Processes that fork and end all the time are caught by checkpoints in the middle of it; none is lost and no status is wrong.
// covers: Process.parent_pid
// timeout: 60
#include "check.h"

static int number;

static void fork_and_wait(void* argument) {
  (void)argument;
  const int expected = ++number & 0x7f;
  const pid_t child = MUST(fork());
  if (child == 0) _exit(expected);
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == expected, "child %d of number %d: wait status 0x%x", child, number, status);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  fork_and_wait(NULL);
  checkpoint_while(fork_and_wait, NULL);
  for (int i = 0; i < 20; i++) fork_and_wait(NULL);
  return 0;
}
