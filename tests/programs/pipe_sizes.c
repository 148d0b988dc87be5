// Pipe sizes set by F_SETPIPE_SZ, smaller and larger than the default, with contents that only the larger can hold.
// covers: pipe
#include "check.h"

static const int sizes[] = {4096, 8192, 65536, 262144, 1048576};
enum { kCount = sizeof sizes / sizeof *sizes };

int main(int argc, char** argv) {
  begin(argc, argv);
  int ends[kCount][2];
  char* buffer = malloc(1048576);
  for (int i = 0; i < kCount; i++) {
    MUST(pipe2(ends[i], O_NONBLOCK));
    CHECK_EQUAL(MUST(fcntl(ends[i][0], F_SETPIPE_SZ, sizes[i])), sizes[i]);
    fill_pattern(buffer, sizes[i], i);
    CHECK_EQUAL(write(ends[i][1], buffer, sizes[i]), sizes[i]);
  }
  checkpoint_here();
  for (int i = 0; i < kCount; i++) {
    CHECK_EQUAL(MUST(fcntl(ends[i][1], F_GETPIPE_SZ)), sizes[i]);
    CHECK(write(ends[i][1], "x", 1) == -1 && errno == EAGAIN, "a full pipe of %d bytes takes more", sizes[i]);
    CHECK_EQUAL(read(ends[i][0], buffer, 1048576), sizes[i]);
    check_pattern("pipe", buffer, sizes[i], i);
  }
  return 0;
}
