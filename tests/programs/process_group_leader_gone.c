// A process group and a session whose leader has ended and been waited for still exist, under the leader's number.
// covers: sessions
#include "check.h"

static volatile int handled;
static void on_signal(int number) { handled = number; }

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t leader = MUST(fork());
  if (leader == 0) {
    MUST(setsid());
    if (MUST(fork()) == 0) {
      signal(SIGUSR1, on_signal);
      mark("member");
      wait_released(0);
      CHECK_EQUAL(getsid(0), getpgid(0));
      char* expected = read_text(scratch_path("leader"));
      CHECK_EQUAL(getsid(0), atoi(expected));
      while (!handled) sleep_ms(2);
      mark("passed");
      _exit(0);
    }
    const int fd = MUST(open(scratch_path("leader"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    dprintf(fd, "%d", getpid());
    wait_mark("member");
    _exit(0);
  }
  expect_child_passes(leader);
  checkpoint_here();
  CHECK(kill(leader, 0) == -1 && errno == ESRCH, "the leader lives");
  MUST(kill(-leader, SIGUSR1));
  wait_mark("passed");
  return 0;
}
