// A descriptor keeps its number, however high, and the numbers that were free stay free.
// covers: descriptors
#include "check.h"
#include <sys/resource.h>

static const int numbers[] = {3, 63, 64, 255, 256, 1000, 4095, 9999};
enum { kCount = sizeof numbers / sizeof *numbers };

int main(int argc, char** argv) {
  begin(argc, argv);
  struct rlimit limit;
  MUST(getrlimit(RLIMIT_NOFILE, &limit));
  if (limit.rlim_max < 10000) SKIP("the limit of open files is %lu", (unsigned long)limit.rlim_max);
  limit.rlim_cur = 10000;
  MUST(setrlimit(RLIMIT_NOFILE, &limit));
  char name[32];
  for (int fd = 3; fd < 10000; fd++) close(fd);
  for (int i = 0; i < kCount; i++) {
    snprintf(name, sizeof name, "file-%d", numbers[i]);
    const int fd = MUST(open(scratch_path(name), O_RDWR | O_CREAT, 0600));
    CHECK_EQUAL(write(fd, name, sizeof name), sizeof name);
    if (fd == numbers[i]) continue;
    MUST(dup2(fd, numbers[i]));
    MUST(close(fd));
  }
  checkpoint_here();
  for (int fd = 3, i = 0; fd < 10000; fd++) {
    const bool expected = i < kCount && numbers[i] == fd;
    CHECK((fcntl(fd, F_GETFD) != -1) == expected, "descriptor %d is %s", fd, expected ? "gone" : "new");
    if (!expected) continue;
    char found[32] = "";
    CHECK_EQUAL(pread(fd, found, sizeof found, 0), sizeof found);
    snprintf(name, sizeof name, "file-%d", numbers[i++]);
    CHECK(!strcmp(found, name), "descriptor %d is %s", fd, found);
  }
  MUST(getrlimit(RLIMIT_NOFILE, &limit));
  CHECK_EQUAL(limit.rlim_cur, 10000);
  CHECK_EQUAL(dup(3), 4);
  return 0;
}
