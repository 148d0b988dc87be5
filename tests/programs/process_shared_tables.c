// Two processes made by clone() that share their address space, descriptor table and working directory are refused, and share them afterwards.
// refused: shar
#include <sched.h>

#include "check.h"

static volatile int written;
static char stack[1 << 16] __attribute__((aligned(16)));

static int other(void* argument) {
  mark("cloned");
  while (written != 1) sleep_ms(2);
  MUST(chdir("/usr"));
  close(*(int*)argument);
  written = 2;
  return 5;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  int fd = MUST(open("/dev/null", O_RDONLY));
  const pid_t child = MUST(clone(other, stack + sizeof stack, CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, &fd));
  wait_mark("cloned");
  checkpoint_here();
  written = 1;
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5, "wait status 0x%x", status);
  CHECK_EQUAL(written, 2);
  CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF, "the descriptor table is not shared any more");
  char directory[100];
  CHECK(getcwd(directory, sizeof directory) != NULL && strcmp(directory, "/usr") == 0, "the working directory is not shared any more: %s", directory);
  return 0;
}
