// oom_score_adj comes back.
// covers: scheduling
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(open("/proc/self/oom_score_adj", O_WRONLY));
  CHECK_EQUAL(write(fd, "321", 3), 3);
  close(fd);
  checkpoint_here();
  char* text = read_text("/proc/self/oom_score_adj");
  CHECK_EQUAL(atoi(text), 321);
  return 0;
}
