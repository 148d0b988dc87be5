// Status flags stay with the open file description, close-on-exec with the descriptor.
// covers: file-flags
#include "check.h"

static const struct {
  int flags;
  bool cloexec;
} kinds[] = {
    {O_RDONLY, false},
    {O_WRONLY | O_APPEND, true},
    {O_RDWR | O_NONBLOCK, false},
    {O_RDWR | O_DIRECT, true},
    {O_WRONLY | O_SYNC, false},
    {O_WRONLY | O_DSYNC | O_APPEND, true},
    {O_RDONLY | O_NOATIME, false},
};
enum { kCount = sizeof kinds / sizeof *kinds };

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("file");
  MUST(close(MUST(open(path, O_CREAT | O_WRONLY, 0600))));
  int fds[kCount], flags[kCount];
  for (int i = 0; i < kCount; i++) {
    fds[i] = MUST(open(path, kinds[i].flags | (kinds[i].cloexec ? O_CLOEXEC : 0)));
    flags[i] = MUST(fcntl(fds[i], F_GETFL));
  }
  const int toggled = MUST(open(path, O_RDWR | O_APPEND | O_NONBLOCK));
  MUST(fcntl(toggled, F_SETFL, O_NONBLOCK));
  const int inherited = MUST(dup(fds[1]));
  checkpoint_here();
  for (int i = 0; i < kCount; i++) {
    CHECK_EQUAL(MUST(fcntl(fds[i], F_GETFL)), flags[i]);
    CHECK_EQUAL(MUST(fcntl(fds[i], F_GETFD)), kinds[i].cloexec ? FD_CLOEXEC : 0);
  }
  CHECK_EQUAL(MUST(fcntl(toggled, F_GETFL)) & (O_APPEND | O_NONBLOCK | O_ACCMODE), O_NONBLOCK | O_RDWR);
  CHECK_EQUAL(MUST(fcntl(inherited, F_GETFD)), 0);
  CHECK_EQUAL(write(fds[1], "ab", 2), 2);
  MUST(lseek(fds[1], 0, SEEK_SET));
  CHECK_EQUAL(write(fds[1], "cd", 2), 2);
  struct stat status;
  MUST(fstat(fds[0], &status));
  CHECK_EQUAL(status.st_size, 4);
  CHECK(write(fds[0], "x", 1) == -1 && errno == EBADF, "a read-only descriptor can be written");
  return 0;
}
