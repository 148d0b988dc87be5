// A process in pause() stays there until a signal is handled.
// covers: blocked-syscalls
#include "check.h"

static volatile int handled;
static void on_signal(int number) { handled = number; }

int main(int argc, char** argv) {
  begin(argc, argv);
  signal(SIGUSR1, on_signal);
  const pid_t child = MUST(fork());
  if (child == 0) {
    const int result = pause();
    CHECK(result == -1 && errno == EINTR && handled == SIGUSR1, "pause returned %d, handled %d", result, handled);
    CHECK(is_released(0), "pause returned before the signal was sent");
    _exit(0);
  }
  wait_asleep_in(child, child, SYS_pause);
  checkpoint_here();
  wait_asleep_in(child, child, SYS_pause);
  kill(child, SIGUSR1);
  expect_child_passes(child);
  return 0;
}
