// Descriptors inherited over exec, and those that close-on-exec took away; and exec after the restore does it again.
// covers: descriptors
#include "check.h"

int main(int argc, char** argv) {
  if (argc == 3) {  // after the second exec
    char text[8] = "";
    CHECK_EQUAL(read(70, text, 5), 5);
    CHECK(!strcmp(text, "56789"), "read %s", text);
    CHECK(fcntl(71, F_GETFD) == -1, "close-on-exec was lost in the restore");
    return 0;
  }
  begin(argc, argv);
  if (fcntl(70, F_GETFD) == -1) {
    const int fd = MUST(open(scratch_path("file"), O_RDWR | O_CREAT, 0600));
    CHECK_EQUAL(write(fd, "0123456789", 10), 10);
    MUST(lseek(fd, 3, SEEK_SET));
    MUST(dup2(fd, 70));
    MUST(dup3(fd, 71, O_CLOEXEC));
    MUST(execv("/proc/self/exe", argv));
  }
  CHECK(fcntl(71, F_GETFD) == -1, "close-on-exec does not work here");
  MUST(dup3(70, 71, O_CLOEXEC));
  checkpoint_here();
  char text[3] = "";
  CHECK_EQUAL(read(70, text, 2), 2);
  CHECK(!strcmp(text, "34"), "read %s", text);
  MUST(execv("/proc/self/exe", (char*[]){argv[0], argv[1], "again", NULL}));
  return 1;
}
