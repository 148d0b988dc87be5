// A child that was stopped by SIGSTOP is still stopped, whether its parent has been told or not, and goes on with SIGCONT.
// covers: signals-pending
#include "check.h"

static pid_t start(const char* name) {
  const pid_t child = MUST(fork());
  if (child != 0) return child;
  setpgid(0, 0);  // SIGTSTP does not stop those of an orphaned process group
  mark(name);
  for (volatile uint64_t count = 0;; count = count + 1) {
    if (access(scratch_path("mark.end"), F_OK) == 0) _exit(0);
    sleep_ms(2);
  }
}

static char state(pid_t child) {
  char* text = status_field(child, "State");
  const char first = text[0];
  free(text);
  return first;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t told = start("told"), untold = start("untold");
  wait_mark("told");
  wait_mark("untold");
  MUST(kill(told, SIGSTOP));
  int status;
  CHECK_EQUAL(waitpid(told, &status, WUNTRACED), told);
  MUST(kill(untold, SIGTSTP));
  while (state(untold) != 'T') sleep_ms(1);
  checkpoint_here();
  CHECK(state(told) == 'T' && state(untold) == 'T', "the children's states are %c and %c", state(told), state(untold));
  CHECK_EQUAL(waitpid(untold, &status, WUNTRACED | WNOHANG), untold);
  CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP, "wait status 0x%x", status);
  CHECK_EQUAL(waitpid(told, &status, WUNTRACED | WNOHANG), 0);
  mark("end");
  MUST(kill(told, SIGCONT));
  MUST(kill(untold, SIGCONT));
  CHECK_EQUAL(waitpid(told, &status, WCONTINUED), told);
  if (WIFCONTINUED(status)) expect_child_passes(told);
  expect_child_passes(untold);
  return 0;
}
