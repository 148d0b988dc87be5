// A pipe end opened anew through /proc/self/fd: a third open file description on the same pipe, with flags of its own.
// covers: pipe
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  int ends[2];
  MUST(pipe(ends));
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
  const int reader = MUST(open(path, O_RDONLY | O_NONBLOCK));
  const int both = MUST(open(path, O_RDWR | O_NONBLOCK));
  CHECK_EQUAL(write(ends[1], "ab", 2), 2);
  CHECK_EQUAL(write(both, "cd", 2), 2);
  MUST(close(ends[1]));
  checkpoint_here();
  CHECK_EQUAL(MUST(fcntl(reader, F_GETFL)) & (O_NONBLOCK | O_ACCMODE), O_NONBLOCK | O_RDONLY);
  CHECK_EQUAL(MUST(fcntl(both, F_GETFL)) & (O_NONBLOCK | O_ACCMODE), O_NONBLOCK | O_RDWR);
  CHECK_EQUAL(MUST(fcntl(ends[0], F_GETFL)) & O_NONBLOCK, 0);
  char text[8] = "";
  CHECK_EQUAL(read(reader, text, 1), 1);
  CHECK_EQUAL(read(ends[0], text + 1, 1), 1);
  CHECK_EQUAL(read(both, text + 2, 4), 2);
  CHECK(!strcmp(text, "abcd"), "read %s", text);
  CHECK(read(reader, text, 1) == -1 && errno == EAGAIN, "no writer is left");
  MUST(close(both));
  CHECK_EQUAL(read(reader, text, 1), 0);
  return 0;
}
