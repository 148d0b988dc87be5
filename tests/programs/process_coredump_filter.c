// Which memory a core dump would hold (/proc/PID/coredump_filter) comes back.
// covers: prctl
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC));
  CHECK_EQUAL(write(fd, "0x1c7", 5), 5);
  MUST(close(fd));
  checkpoint_here();
  CHECK_EQUAL(strtol(read_text("/proc/self/coredump_filter"), NULL, 16), 0x1c7);
  return 0;
}
