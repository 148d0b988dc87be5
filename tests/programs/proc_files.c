// Files of /proc that are open: their offset stays, and they go on telling about the same process.
// covers: file-offset
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int status = MUST(open("/proc/self/status", O_RDONLY));
  const int directory = MUST(open("/proc/self", O_RDONLY | O_DIRECTORY));
  const pid_t child = MUST(fork());
  if (child == 0)
    for (;;) pause();
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", child);
  const int child_stat = MUST(open(path, O_RDONLY));
  char name[256] = "", text[256] = "", number[64];
  CHECK_EQUAL(read(status, name, 6), 6);
  CHECK(!strncmp(name, "Name:\t", 6), "read %s", name);
  checkpoint_here();
  CHECK_EQUAL(lseek(status, 0, SEEK_CUR), 6);
  CHECK(read(status, text, sizeof text - 1) > 0, "nothing behind the offset");
  CHECK(!strncmp(text, "proc_files\n", 11), "read %.20s behind the offset", text);
  const int own_stat = MUST(openat(directory, "stat", O_RDONLY));
  CHECK(read(own_stat, text, sizeof text - 1) > 0, "cannot read stat");
  CHECK_EQUAL(atoi(text), getpid());
  CHECK(read(child_stat, text, sizeof text - 1) > 0, "cannot read the child's stat");
  snprintf(number, sizeof number, "%d ", child);
  CHECK(!strncmp(text, number, strlen(number)), "the child's stat tells of %.10s", text);
  MUST(kill(child, SIGKILL));
  MUST(waitpid(child, NULL, 0));
  MUST(lseek(child_stat, 0, SEEK_SET));
  CHECK(read(child_stat, text, sizeof text) == -1 && errno == ESRCH, "the dead child's stat can be read");
  return 0;
}
