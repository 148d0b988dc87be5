// A process cloned with CLONE_FILES (and not CLONE_VM) goes on sharing its descriptor table.
// covers: descriptors
#include "check.h"
#include <sched.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* first = scratch_path("first");
  const char* second = scratch_path("second");
  const int fd = MUST(open(first, O_RDWR | O_CREAT, 0600));
  const pid_t child = MUST(syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL));
  if (child == 0) {
    wait_released(0);
    MUST(fcntl(fd, F_GETFD));
    MUST(dup2(MUST(open(second, O_RDWR | O_CREAT, 0600)), 500));
    MUST(close(fd));
    _exit(0);
  }
  checkpoint_here();
  expect_child_passes(child);
  CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF, "what one process closed is still open in the other");
  char target[600] = "";
  MUST(readlink("/proc/self/fd/500", target, sizeof target - 1));
  CHECK(!strcmp(target, second), "descriptor 500 is %s", target);
  return 0;
}
