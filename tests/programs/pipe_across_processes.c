// A ring of processes, each holding one end of two pipes with a token in one of them: it goes round after the restore.
// covers: pipe, descriptors
#include "check.h"

enum { kProcesses = 5, kRounds = 100 };

int main(int argc, char** argv) {
  begin(argc, argv);
  int pipes[kProcesses][2];
  for (int i = 0; i < kProcesses; i++) MUST(pipe(pipes[i]));
  pid_t children[kProcesses];
  for (int i = 0; i < kProcesses; i++) {
    children[i] = MUST(fork());
    if (children[i] != 0) continue;
    const int from = pipes[i][0], to = pipes[(i + 1) % kProcesses][1];
    for (int other = 0; other < 2 * kProcesses; other++) {
      const int fd = pipes[other / 2][other % 2];
      if (fd != from && fd != to) MUST(close(fd));
    }
    wait_released(0);
    long token, seen = 0;
    while (read(from, &token, sizeof token) == sizeof token) {
      seen++;
      if (++token > kProcesses * kRounds) break;
      if (write(to, &token, sizeof token) != sizeof token) _exit(1);
    }
    // Its closing ends is what tells the next process.
    _exit(seen == kRounds ? 0 : 1);
  }
  signal(SIGPIPE, SIG_IGN);
  const long token = 1;
  CHECK_EQUAL(write(pipes[2][1], &token, sizeof token), sizeof token);
  for (int i = 0; i < kProcesses; i++) MUST(close(pipes[i][0])), MUST(close(pipes[i][1]));
  checkpoint_here();
  for (int i = 0; i < kProcesses; i++) expect_child_passes(children[i]);
  return 0;
}
