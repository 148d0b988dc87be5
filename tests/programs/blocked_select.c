// select() with a timeout returns 0 in time.
// covers: blocked-syscalls
#include <sys/select.h>

#include "timed.h"

static long call(void) {
  struct timeval timeout = {kTimeoutMs / 1000, kTimeoutMs % 1000 * 1000};
  return syscall(SYS_select, 0, NULL, NULL, NULL, &timeout);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  return run_timed((struct timed_call){.call = call, .number = SYS_select, .result = 0});
}
