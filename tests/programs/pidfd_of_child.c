// Pidfds of a living child, of a zombie, and of this process: poll, signals and waiting through them.
// covers: pidfd
#include "check.h"
#include <poll.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int pidfd_open(pid_t pid) { return MUST(syscall(SYS_pidfd_open, pid, 0)); }
static int send_signal(int fd, int number) { return (int)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0); }

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t child = MUST(fork());
  if (child == 0)
    for (;;) pause();
  const pid_t zombie = MUST(fork());
  if (zombie == 0) _exit(7);
  const int living = pidfd_open(child), dead = pidfd_open(zombie), self = pidfd_open(getpid());
  struct pollfd polled[2] = {{living, POLLIN, 0}, {dead, POLLIN, 0}};
  while (poll(polled + 1, 1, 1000) != 1) continue;
  checkpoint_here();
  CHECK_EQUAL(poll(polled, 2, 0), 1);
  CHECK_EQUAL(polled[1].revents & POLLIN, POLLIN);
  siginfo_t information = {0};
  MUST(waitid((idtype_t)P_PIDFD, dead, &information, WEXITED));
  CHECK_EQUAL(information.si_pid, zombie);
  CHECK_EQUAL(information.si_status, 7);
  CHECK_EQUAL(send_signal(self, 0), 0);
  CHECK_EQUAL(send_signal(living, SIGKILL), 0);
  CHECK_EQUAL(poll(polled, 1, 5000), 1);
  MUST(waitid((idtype_t)P_PIDFD, living, &information, WEXITED));
  CHECK_EQUAL(information.si_pid, child);
  CHECK(send_signal(living, 0) == -1 && errno == ESRCH, "the dead child takes signals");
  return 0;
}
