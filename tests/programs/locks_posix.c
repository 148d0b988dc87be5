// POSIX record locks: held ranges still conflict, between their processes only, and go with their owner; a waiter still waits.
// covers: file-locks
#include "check.h"

static int record_lock(int fd, int command, short type, off_t from, off_t length) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = length};
  const int result = fcntl(fd, command, &lock);
  if (command == F_GETLK && result == 0) return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
  return result;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(open(scratch_path("file"), O_RDWR | O_CREAT, 0600));
  MUST(record_lock(fd, F_SETLK, F_WRLCK, 10, 10));
  MUST(record_lock(fd, F_SETLK, F_RDLCK, 100, 0));
  const pid_t child = MUST(fork());
  if (child == 0) {
    MUST(record_lock(fd, F_SETLK, F_WRLCK, 50, 5));
    MUST(record_lock(fd, F_SETLK, F_RDLCK, 200, 10));
    mark("locked");
    CHECK_EQUAL(record_lock(fd, F_SETLKW, F_WRLCK, 10, 1), 0);
    _exit(0);
  }
  wait_mark("locked");
  wait_asleep_in(child, child, SYS_fcntl);
  checkpoint_here();
  CHECK(record_lock(fd, F_SETLK, F_WRLCK, 52, 1) == -1 && (errno == EAGAIN || errno == EACCES), "the child's lock is gone");
  CHECK_EQUAL(record_lock(fd, F_GETLK, F_WRLCK, 50, 1), child);
  CHECK_EQUAL(record_lock(fd, F_GETLK, F_WRLCK, 205, 1), child);
  CHECK_EQUAL(record_lock(fd, F_GETLK, F_RDLCK, 205, 1), 0);
  CHECK_EQUAL(record_lock(fd, F_GETLK, F_WRLCK, 60, 40), 0);
  const pid_t prober = MUST(fork());
  if (prober == 0) {
    CHECK_EQUAL(record_lock(fd, F_GETLK, F_RDLCK, 15, 1), getppid());
    CHECK_EQUAL(record_lock(fd, F_GETLK, F_WRLCK, 1000000, 1), getppid());
    CHECK_EQUAL(record_lock(fd, F_GETLK, F_RDLCK, 1000000, 1), 0);
    CHECK_EQUAL(record_lock(fd, F_GETLK, F_WRLCK, 20, 10), 0);
    _exit(0);
  }
  expect_child_passes(prober);
  CHECK_EQUAL(waitpid(child, NULL, WNOHANG), 0);
  MUST(record_lock(fd, F_SETLK, F_UNLCK, 10, 10));
  expect_child_passes(child);
  CHECK_EQUAL(record_lock(fd, F_GETLK, F_WRLCK, 50, 5), 0);
  return 0;
}
