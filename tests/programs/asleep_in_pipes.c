// Threads asleep on pipes, in read, write (half done), readv, splice, tee, sendfile, vmsplice and open of a FIFO, finish with the full count.
// covers: pipe
#include "sleepers.h"
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { kLarge = 300000 };
static char* pattern;
static int file;

static long in_read(void* fds) { return read(((int*)fds)[0], (char[8]){0}, 8); }
static long in_readv(void* fds) {
  char first[2], second[6];
  const struct iovec vectors[] = {{first, 2}, {second, 6}};
  return readv(((int*)fds)[0], vectors, 2);
}
static long in_write(void* fds) { return write(((int*)fds)[1], pattern, kLarge); }
static long in_splice(void* fds) { return splice(((int*)fds)[0], NULL, ((int*)fds)[3], NULL, 100, 0); }
static long in_tee(void* fds) { return tee(((int*)fds)[0], ((int*)fds)[3], 100, 0); }
static long in_sendfile(void* fds) { return sendfile(((int*)fds)[1], file, NULL, kLarge); }
static long in_vmsplice(void* fds) {
  const struct iovec vector = {pattern, 8192};
  return vmsplice(((int*)fds)[1], &vector, 1, 0);
}
static long in_open(void* path) { return open(path, O_RDONLY) >= 0 ? 0 : -1; }

static void drain(int fd, size_t size) {
  char* found = malloc(size);
  for (size_t done = 0; done < size;) done += MUST(read(fd, found + done, size - done));
  check_pattern("what came through", found, size, 3);
  free(found);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pattern = malloc(kLarge);
  fill_pattern(pattern, kLarge, 3);
  file = MUST(open(scratch_path("file"), O_RDWR | O_CREAT, 0600));
  CHECK_EQUAL(write(file, pattern, kLarge), kLarge);
  MUST(lseek(file, 0, SEEK_SET));
  int pipes[7][4];
  for (int i = 0; i < 7; i++) MUST(pipe(pipes[i])), MUST(pipe(pipes[i] + 2));
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pipes[5]));  // sendfile to a pipe returns when the pipe is full
  char* fifo = scratch_path("fifo");
  MUST(mkfifo(fifo, 0600));
  CHECK_EQUAL(write(pipes[6][1], pattern, 65536), 65536);
  struct sleeper sleepers[] = {
      SLEEPER("read", SYS_read, in_read, pipes[0]),       SLEEPER("readv", SYS_readv, in_readv, pipes[1]),
      SLEEPER("write", SYS_write, in_write, pipes[2]),    SLEEPER("splice", SYS_splice, in_splice, pipes[3]),
      SLEEPER("tee", SYS_tee, in_tee, pipes[4]),          SLEEPER("sendfile", SYS_sendfile, in_sendfile, pipes[5]),
      SLEEPER("vmsplice", SYS_vmsplice, in_vmsplice, pipes[6]), SLEEPER("open of a FIFO", SYS_openat, in_open, fifo),
  };
  enum { kCount = sizeof sleepers / sizeof *sleepers };
  start_sleepers(sleepers, kCount);
  checkpoint_here();
  expect_asleep(sleepers, kCount);
  for (int i = 0; i < 2; i++) {
    CHECK_EQUAL(write(pipes[i][1], "12345678", 8), 8);
    expect_returns(&sleepers[i], 8);
  }
  drain(pipes[2][0], kLarge);
  expect_returns(&sleepers[2], kLarge);
  for (int i = 3; i < 5; i++) {
    CHECK_EQUAL(write(pipes[i][1], "abc", 3), 3);
    expect_returns(&sleepers[i], 3);
    CHECK_EQUAL(read(pipes[i][2], (char[8]){0}, 8), 3);
  }
  drain(pipes[5][0], kLarge);
  expect_returns(&sleepers[5], kLarge);
  drain(pipes[6][0], 65536);
  expect_returns(&sleepers[6], 8192);
  MUST(open(fifo, O_WRONLY));
  expect_returns(&sleepers[7], 0);
  return 0;
}
