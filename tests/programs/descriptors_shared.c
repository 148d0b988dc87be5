// Descriptors that share an open file description go on sharing its offset; those that do not stay apart.
// covers: descriptors, file-offset
#include "check.h"

static off_t offset_of(int fd) { return MUST(lseek(fd, 0, SEEK_CUR)); }

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("file");
  const int first = MUST(open(path, O_RDWR | O_CREAT, 0600));
  MUST(ftruncate(first, 1000));
  const int same = MUST(dup(first));
  const int apart = MUST(open(path, O_RDWR));
  MUST(lseek(first, 100, SEEK_SET));
  MUST(lseek(apart, 7, SEEK_SET));
  const pid_t child = MUST(fork());
  if (child == 0) {
    wait_released(0);
    while (offset_of(same) != 200) sleep_ms(1);
    MUST(lseek(first, 300, SEEK_SET));
    CHECK_EQUAL(offset_of(apart), 7);
    _exit(0);
  }
  checkpoint_here();
  CHECK_EQUAL(offset_of(same), 100);
  CHECK_EQUAL(offset_of(apart), 7);
  MUST(lseek(same, 200, SEEK_SET));
  CHECK_EQUAL(offset_of(first), 200);
  expect_child_passes(child);
  CHECK_EQUAL(offset_of(first), 300);
  CHECK_EQUAL(offset_of(same), 300);
  CHECK_EQUAL(offset_of(apart), 7);
  CHECK_EQUAL(syscall(SYS_kcmp, getpid(), getpid(), 0, first, same), 0);
  CHECK(syscall(SYS_kcmp, getpid(), getpid(), 0, first, apart) != 0, "separate open file descriptions became one");
  return 0;
}
