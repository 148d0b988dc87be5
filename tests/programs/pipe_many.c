// Three hundred pipes, each with its own contents, its own flags, and no other.
// covers: pipe
#include "check.h"

enum { kPipes = 300 };

int main(int argc, char** argv) {
  begin(argc, argv);
  static int pipes[kPipes][2];
  char text[64];
  for (int i = 0; i < kPipes; i++) {
    MUST(pipe2(pipes[i], i % 3 == 0 ? O_NONBLOCK : 0));
    if (i % 5 == 0) MUST(fcntl(pipes[i][0], F_SETFL, O_NONBLOCK));
    for (int line = 0; line < i % 7; line++) dprintf(pipes[i][1], "pipe %d line %d\n", i, line);
  }
  checkpoint_here();
  for (int i = 0; i < kPipes; i++) {
    const int reader_flags = MUST(fcntl(pipes[i][0], F_GETFL)), writer_flags = MUST(fcntl(pipes[i][1], F_GETFL));
    CHECK_EQUAL(reader_flags & (O_NONBLOCK | O_ACCMODE), i % 3 == 0 || i % 5 == 0 ? O_NONBLOCK : 0);
    CHECK_EQUAL(writer_flags & (O_NONBLOCK | O_ACCMODE), O_WRONLY | (i % 3 == 0 ? O_NONBLOCK : 0));
    for (int line = 0; line < i % 7; line++) {
      char expected[64];
      const int length = snprintf(expected, sizeof expected, "pipe %d line %d\n", i, line);
      CHECK_EQUAL(read(pipes[i][0], text, length), length);
      CHECK(!memcmp(text, expected, length), "read %.*s, not %s", length, text, expected);
    }
    MUST(fcntl(pipes[i][0], F_SETFL, O_NONBLOCK));
    CHECK(read(pipes[i][0], text, 1) == -1 && errno == EAGAIN, "pipe %d holds more", i);
  }
  return 0;
}
