// A tree of processes keeps its pids and who is whose parent, and each child can still be waited for by its parent only.
// covers: Process.parent_pid
#include "check.h"

static void grandchild(pid_t expected_parent) {
  wait_released(0);
  CHECK_EQUAL(getppid(), expected_parent);
  _exit(3);
}

static void child(pid_t expected_parent, int number) {
  const pid_t self = getpid();
  const pid_t below = MUST(fork());
  if (below == 0) grandchild(self);
  char name[32];
  snprintf(name, sizeof name, "child%d", number);
  mark(name);
  wait_released(0);
  CHECK_EQUAL(getpid(), self);
  CHECK_EQUAL(syscall(SYS_gettid), self);
  CHECK_EQUAL(getppid(), expected_parent);
  int status;
  CHECK_EQUAL(waitpid(below, &status, 0), below);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3, "wait status 0x%x", status);
  CHECK(wait(&status) == -1 && errno == ECHILD, "one child too many");
  _exit(0);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  enum { kChildren = 4 };
  const pid_t self = getpid(), parent = getppid();
  pid_t children[kChildren];
  for (int i = 0; i < kChildren; i++) {
    children[i] = MUST(fork());
    if (children[i] == 0) child(self, i);
  }
  for (int i = 0; i < kChildren; i++) {
    char name[32];
    snprintf(name, sizeof name, "child%d", i);
    wait_mark(name);
  }
  checkpoint_here();
  CHECK_EQUAL(getpid(), self);
  CHECK_EQUAL(getppid(), parent);
  for (int i = 0; i < kChildren; i++) expect_child_passes(children[i]);
  CHECK(wait(NULL) == -1 && errno == ECHILD, "one child too many");
  return 0;
}
