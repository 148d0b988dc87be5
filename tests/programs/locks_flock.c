// flock locks belong to the open file description: shared with a child, in conflict with another open; a waiter still waits.
// covers: file-locks
#include "check.h"
#include <sys/file.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("exclusive");
  const int held = MUST(open(path, O_RDWR | O_CREAT, 0600)), other = MUST(open(path, O_RDONLY));
  const int shared = MUST(open(scratch_path("shared"), O_RDWR | O_CREAT, 0600)), shared_other = MUST(open(scratch_path("shared"), O_RDONLY));
  MUST(flock(held, LOCK_EX));
  MUST(flock(shared, LOCK_SH));
  MUST(flock(shared_other, LOCK_SH));
  const pid_t child = MUST(fork());
  if (child == 0) {
    const int waiting = MUST(open(path, O_RDONLY));
    MUST(close(other));
    CHECK_EQUAL(flock(waiting, LOCK_EX), 0);
    _exit(0);
  }
  wait_asleep_in(child, child, SYS_flock);
  checkpoint_here();
  CHECK(flock(other, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the exclusive lock is gone");
  CHECK(flock(shared, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "one of the shared locks is gone");
  MUST(flock(held, LOCK_EX | LOCK_NB));
  CHECK_EQUAL(waitpid(child, NULL, WNOHANG), 0);
  MUST(flock(held, LOCK_UN));
  MUST(close(held));
  expect_child_passes(child);
  MUST(flock(other, LOCK_EX | LOCK_NB));
  return 0;
}
