// A group that mounted a file system for itself is refused.
// refused: mounted
#include "check.h"

#include <sys/mount.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(mkdir(scratch_path("place"), 0700));
  if (mount("own", scratch_path("place"), "tmpfs", 0, "size=64k") == -1) SKIP("no mounting here: %s", strerror(errno));
  const int fd = MUST(open(scratch_path("place/file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  CHECK_EQUAL(write(fd, "text", 4), 4);
  MUST(close(fd));
  checkpoint_here();
  char* text = read_text(scratch_path("place/file"));
  CHECK(text != NULL && strcmp(text, "text") == 0, "the file holds %s", text == NULL ? "nothing, it is gone" : text);
  return 0;
}
