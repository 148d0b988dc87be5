// A process that asked for a signal when its parent ends still gets it.
// covers: prctl
#include <sys/prctl.h>

#include "check.h"

static volatile int handled;
static void on_signal(int number) { handled = number; }

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t child = MUST(fork());
  if (child == 0) {
    if (MUST(fork()) == 0) {
      signal(SIGUSR2, on_signal);
      MUST(prctl(PR_SET_PDEATHSIG, SIGUSR2));
      mark("waiting");
      wait_released(0);
      int number = 0;
      MUST(prctl(PR_GET_PDEATHSIG, &number));
      CHECK_EQUAL(number, SIGUSR2);
      CHECK_EQUAL(handled, 0);
      mark("asked");
      while (!handled) sleep_ms(2);
      mark("passed");
      _exit(0);
    }
    wait_released(0);
    wait_mark("asked");
    _exit(0);
  }
  wait_mark("waiting");
  checkpoint_here();
  expect_child_passes(child);
  for (int64_t deadline = monotonic_ms() + 15000; access(scratch_path("mark.passed"), F_OK) != 0; sleep_ms(2))
    CHECK(monotonic_ms() < deadline, "no signal came, or the grandchild failed");
  return 0;
}
