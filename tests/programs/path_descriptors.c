// O_PATH descriptors of a file, a directory, a symbolic link and a FIFO.
// covers: descriptors
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(close(MUST(open(scratch_path("file"), O_CREAT | O_WRONLY, 0600))));
  MUST(symlink("nowhere", scratch_path("link")));
  MUST(mkfifo(scratch_path("fifo"), 0600));
  const int file = MUST(open(scratch_path("file"), O_PATH));
  const int directory = MUST(open(scratch_directory, O_PATH | O_DIRECTORY));
  const int link = MUST(open(scratch_path("link"), O_PATH | O_NOFOLLOW));
  const int fifo = MUST(open(scratch_path("fifo"), O_PATH));
  checkpoint_here();
  struct stat status;
  char text[16] = "";
  CHECK(read(file, text, 1) == -1 && errno == EBADF, "an O_PATH descriptor can be read");
  CHECK(MUST(fcntl(file, F_GETFL)) & O_PATH, "O_PATH is gone");
  MUST(fstatat(file, "", &status, AT_EMPTY_PATH));
  CHECK(S_ISREG(status.st_mode), "mode 0%o", status.st_mode);
  MUST(fstatat(directory, "file", &status, 0));
  CHECK_EQUAL(MUST(readlinkat(link, "", text, sizeof text)), 7);
  CHECK(!strcmp(text, "nowhere"), "the link points to %s", text);
  MUST(fstat(fifo, &status));
  CHECK(S_ISFIFO(status.st_mode), "mode 0%o", status.st_mode);
  return 0;
}
