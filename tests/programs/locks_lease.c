// A lease on a file (F_SETLEASE) is refused, and stays.
// refused: lease
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(open(scratch_path("file"), O_RDONLY | O_CREAT, 0600));
  if (fcntl(fd, F_SETLEASE, F_RDLCK) == -1) SKIP("no leases in %s", scratch_directory);
  checkpoint_here();
  CHECK_EQUAL(fcntl(fd, F_GETLEASE), F_RDLCK);
  return 0;
}
