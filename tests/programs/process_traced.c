// A process that traces another by ptrace() is refused by name, and goes on tracing.
// refused: (?i)trac
#include <sys/ptrace.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t child = MUST(fork());
  if (child == 0) {
    MUST(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    raise(SIGSTOP);
    _exit(5);
  }
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFSTOPPED(status), "wait status 0x%x", status);
  checkpoint_here();
  MUST(ptrace(PTRACE_CONT, child, NULL, NULL));
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5, "wait status 0x%x", status);
  return 0;
}
