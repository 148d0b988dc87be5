// A directory whose changes are told by signals (F_NOTIFY) is watched after the restore too, or the checkpoint is refused by name.
// refusal: (?i)F_NOTIFY|dnotify
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL));
  const char* path = scratch_path("directory");
  MUST(mkdir(path, 0700));
  const int fd = MUST(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  MUST(fcntl(fd, F_SETSIG, SIGRTMIN));
  if (fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT) == -1) SKIP("no F_NOTIFY here");
  checkpoint_here();
  MUST(close(MUST(open(scratch_path("directory/file"), O_CREAT | O_RDWR, 0600))));
  const struct timespec limit = {5, 0};
  siginfo_t information;
  CHECK_EQUAL(sigtimedwait(&set, &information, &limit), SIGRTMIN);
  CHECK_EQUAL(information.si_fd, fd);
  return 0;
}
