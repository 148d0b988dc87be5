// A device with state that cannot be read back is refused by the name of its node.
// refused: kmsg|loop-control
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  if (fd < 0) fd = open("/dev/loop-control", O_RDWR);
  if (fd < 0) SKIP("neither /dev/kmsg nor /dev/loop-control");
  checkpoint_here();
  struct stat status;
  MUST(fstat(fd, &status));
  CHECK(S_ISCHR(status.st_mode), "mode 0%o", status.st_mode);
  return 0;
}
