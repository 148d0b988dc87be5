// Open file description locks (F_OFD_SETLK): ranges, conflicts between two opens of one process, a waiter.
// covers: file-locks
#include "check.h"

static int record_lock(int fd, int command, short type, off_t from, off_t length) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = length};
  return fcntl(fd, command, &lock);
}

static int waiting;
static void* waiter(void* tid) {
  *(pid_t*)tid = gettid();
  CHECK_EQUAL(record_lock(waiting, F_OFD_SETLKW, F_WRLCK, 0, 10), 0);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("file");
  const int held = MUST(open(path, O_RDWR | O_CREAT, 0600)), other = MUST(open(path, O_RDWR));
  waiting = MUST(open(path, O_RDWR));
  MUST(record_lock(held, F_OFD_SETLK, F_WRLCK, 0, 10));
  MUST(record_lock(held, F_OFD_SETLK, F_RDLCK, 20, 10));
  pthread_t thread;
  static volatile pid_t tid;
  CHECK_EQUAL(pthread_create(&thread, NULL, waiter, (void*)&tid), 0);
  while (!tid) sleep_ms(1);
  wait_asleep_in(getpid(), tid, SYS_fcntl);
  checkpoint_here();
  CHECK(record_lock(other, F_OFD_SETLK, F_RDLCK, 5, 1) == -1 && errno == EAGAIN, "the write lock is gone");
  CHECK(record_lock(other, F_OFD_SETLK, F_WRLCK, 25, 1) == -1 && errno == EAGAIN, "the read lock is gone");
  MUST(record_lock(other, F_OFD_SETLK, F_RDLCK, 25, 1));
  MUST(record_lock(other, F_OFD_SETLK, F_WRLCK, 12, 5));
  MUST(record_lock(held, F_OFD_SETLK, F_UNLCK, 0, 10));
  pthread_join(thread, NULL);
  MUST(close(held));
  MUST(record_lock(other, F_OFD_SETLK, F_WRLCK, 20, 10));
  return 0;
}
