// A process whose parent ended keeps the parent that it was given then, and runs on when the first program of the group waits for it.
// covers: Process.parent_pid
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t child = MUST(fork());
  if (child == 0) {
    if (MUST(fork()) == 0) {
      const pid_t former = getppid();
      mark("go-orphan");
      while (getppid() == former) sleep_ms(2);
      const pid_t adopter = getppid();
      mark("orphaned");
      wait_released(0);
      CHECK_EQUAL(getppid(), adopter);
      mark("passed");
      _exit(0);
    }
    wait_mark("go-orphan");
    _exit(0);
  }
  expect_child_passes(child);
  wait_mark("orphaned");
  checkpoint_here();
  wait_mark("passed");
  return 0;
}
