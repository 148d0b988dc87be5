// Children that ended and were not waited for keep their status: exited, killed, and with whom siginfo says they are.
// covers: zombies
#include <sys/resource.h>

#include "check.h"

static pid_t start(int kind) {
  const pid_t child = MUST(fork());
  if (child != 0) return child;
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (kind == 0) _exit(7);
  if (kind == 1) raise(SIGKILL);
  if (kind == 2) raise(SIGTERM);
  _exit(255);
}

static void wait_zombie(pid_t child) {
  siginfo_t info;
  MUST(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pid_t children[4];
  for (int i = 0; i < 4; i++) children[i] = start(i);
  for (int i = 0; i < 4; i++) wait_zombie(children[i]);
  checkpoint_here();
  int status;
  siginfo_t info;
  MUST(waitid(P_PID, children[0], &info, WEXITED | WNOWAIT));
  CHECK(info.si_pid == children[0] && info.si_code == CLD_EXITED && info.si_status == 7 && info.si_uid == getuid(),
        "si_pid %d, si_code %d, si_status %d, si_uid %u", info.si_pid, info.si_code, info.si_status, info.si_uid);
  CHECK_EQUAL(waitpid(children[0], &status, 0), children[0]);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "wait status 0x%x", status);
  CHECK_EQUAL(waitpid(children[1], &status, 0), children[1]);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "wait status 0x%x", status);
  CHECK_EQUAL(waitpid(children[2], &status, 0), children[2]);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "wait status 0x%x", status);
  CHECK_EQUAL(waitpid(children[3], &status, 0), children[3]);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 255, "wait status 0x%x", status);
  CHECK(wait(&status) == -1 && errno == ECHILD, "one child too many");
  return 0;
}
