// poll() with a timeout and nothing to report returns 0 in time.
// covers: blocked-syscalls
#include <poll.h>

#include "timed.h"

static long call(void) { return poll(NULL, 0, kTimeoutMs); }

int main(int argc, char** argv) {
  begin(argc, argv);
  return run_timed((struct timed_call){.call = call, .number = SYS_poll, .result = 0});
}
