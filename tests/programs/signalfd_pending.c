// A signalfd keeps its mask; signals pending at the checkpoint come out of it with their data.
// covers: signalfd
#include "check.h"
#include <sys/signalfd.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  sigset_t blocked, mask;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigaddset(&blocked, SIGRTMIN + 2);
  sigaddset(&blocked, SIGUSR2);
  MUST(sigprocmask(SIG_BLOCK, &blocked, NULL));
  mask = blocked;
  sigdelset(&mask, SIGUSR2);
  const int fd = MUST(signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
  MUST(kill(getpid(), SIGUSR1));
  MUST(kill(getpid(), SIGUSR2));
  MUST(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 1111}));
  MUST(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 2222}));
  checkpoint_here();
  struct signalfd_siginfo found[4];
  CHECK_EQUAL(read(fd, found, sizeof found), 3 * sizeof *found);
  CHECK_EQUAL(found[0].ssi_signo, SIGUSR1);
  CHECK_EQUAL(found[1].ssi_signo, SIGRTMIN + 2);
  CHECK_EQUAL(found[1].ssi_int, 1111);
  CHECK_EQUAL(found[2].ssi_int, 2222);
  CHECK(read(fd, found, sizeof found) == -1 && errno == EAGAIN, "SIGUSR2 came through the mask");
  MUST(kill(getpid(), SIGUSR1));
  CHECK_EQUAL(read(fd, found, sizeof found), sizeof *found);
  CHECK_EQUAL(found[0].ssi_pid, getpid());
  return 0;
}
