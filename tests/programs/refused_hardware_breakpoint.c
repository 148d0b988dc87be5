// A process in which a debugger left a hardware watchpoint is refused.
// refused: hardware breakpoint
#include "check.h"

#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

static long watched;

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t child = MUST(fork());
  if (child == 0) {
    wait_released(0);
    _exit(0);
  }
  MUST(ptrace(PTRACE_SEIZE, child, 0, 0));
  MUST(ptrace(PTRACE_INTERRUPT, child, 0, 0));
  int status;
  CHECK_EQUAL(waitpid(child, &status, __WALL), child);
  enum { kWatchWrites = 1 | 1 << 16 | 3 << 18 };
  const bool set = ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[0]), &watched) == 0 &&
                   ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[7]), kWatchWrites) == 0;
  MUST(ptrace(PTRACE_DETACH, child, 0, 0));
  if (!set) SKIP("no hardware breakpoints here");
  checkpoint_here();
  expect_child_passes(child);
  return 0;
}
