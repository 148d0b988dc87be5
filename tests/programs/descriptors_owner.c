// The process that a descriptor signals (F_SETOWN), with which signal (F_SETSIG), and that it does (O_ASYNC).
// covers: descriptors
#include "check.h"
#include <sys/socket.h>

static volatile sig_atomic_t signalled_fd = -1;
static void on_io(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  signalled_fd = info->si_fd;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  const int signal_number = SIGRTMIN + 3;
  struct sigaction action = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO};
  MUST(sigaction(signal_number, &action, NULL));
  MUST(fcntl(pair[0], F_SETOWN, getpid()));
  MUST(fcntl(pair[0], F_SETSIG, signal_number));
  MUST(fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK));
  const struct f_owner_ex thread = {F_OWNER_TID, gettid()};
  MUST(fcntl(pair[1], F_SETOWN_EX, &thread));
  checkpoint_here();
  CHECK_EQUAL(MUST(fcntl(pair[0], F_GETOWN)), getpid());
  CHECK_EQUAL(MUST(fcntl(pair[0], F_GETSIG)), signal_number);
  CHECK_EQUAL(MUST(fcntl(pair[0], F_GETFL)) & (O_ASYNC | O_NONBLOCK), O_ASYNC | O_NONBLOCK);
  struct f_owner_ex owner;
  MUST(fcntl(pair[1], F_GETOWN_EX, &owner));
  CHECK_EQUAL(owner.type, F_OWNER_TID);
  CHECK_EQUAL(owner.pid, gettid());
  CHECK_EQUAL(signalled_fd, -1);
  CHECK_EQUAL(write(pair[1], "x", 1), 1);
  for (int i = 0; i < 1000 && signalled_fd == -1; i++) sleep_ms(1);
  CHECK_EQUAL(signalled_fd, pair[0]);
  return 0;
}
