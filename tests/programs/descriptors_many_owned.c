// Hundreds of descriptors that send signals (O_ASYNC) all do after the restore.
// covers: descriptors
// timeout: 90
#include "check.h"

#include <sys/socket.h>

enum { kPairs = 260 };

int main(int argc, char** argv) {
  begin(argc, argv);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL));
  int pairs[kPairs][2];
  for (int i = 0; i < kPairs; i++) {
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]));
    for (int end = 0; end < 2; end++) {
      MUST(fcntl(pairs[i][end], F_SETOWN, getpid()));
      MUST(fcntl(pairs[i][end], F_SETSIG, SIGRTMIN));
      MUST(fcntl(pairs[i][end], F_SETFL, O_ASYNC));
    }
  }
  checkpoint_here();
  for (int i = 0; i < kPairs; i++) {
    for (int end = 0; end < 2; end++) {
      CHECK_EQUAL(MUST(fcntl(pairs[i][end], F_GETFL)) & O_ASYNC, O_ASYNC);
      CHECK_EQUAL(write(pairs[i][1 - end], "x", 1), 1);
      siginfo_t info;
      const struct timespec limit = {10, 0};
      CHECK_EQUAL(sigtimedwait(&set, &info, &limit), SIGRTMIN);
      CHECK_EQUAL(info.si_fd, pairs[i][end]);
    }
  }
  return 0;
}
