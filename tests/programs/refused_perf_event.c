// A performance counter is refused.
// refused: perf_event|perf
#include "check.h"
#include <linux/perf_event.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  struct perf_event_attr attributes = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attributes, .config = PERF_COUNT_SW_PAGE_FAULTS};
  const int fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
  if (fd < 0) SKIP("no performance counters here");
  checkpoint_here();
  uint64_t count;
  CHECK_EQUAL(read(fd, &count, sizeof count), sizeof count);
  return 0;
}
