// A process that tells of its end by another signal than SIGCHLD, as it was created to, is refused when its parent has executed a program since:
// the kernel then sends SIGCHLD all the same, and nothing but another execution could make it do so again.
// refused: parent has executed
#include "check.h"
#include <sched.h>

static char stack[1 << 16] __attribute__((aligned(16)));

static int wait_for_end(void* argument) {
  (void)argument;
  wait_released(0);
  return 0;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* child = getenv("CHILD");
  if (child == NULL) {
    char number[16];
    snprintf(number, sizeof number, "%d", (int)MUST(clone(wait_for_end, stack + sizeof stack, SIGUSR1, NULL)));
    MUST(setenv("CHILD", number, 1));
    MUST(execv("/proc/self/exe", argv));
  }
  checkpoint_here();
  int status = -1;
  CHECK_EQUAL(waitpid(atoi(child), &status, __WALL), atoi(child));
  CHECK_EQUAL(status, 0);
  return 0;
}
