// A process in a chroot, with a file opened inside and one from before that lies outside.
// covers: descriptors, file-offset
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int outside = MUST(open(scratch_path("outside"), O_RDWR | O_CREAT, 0600));
  CHECK_EQUAL(write(outside, "out", 3), 3);
  MUST(mkdir(scratch_path("root"), 0755));
  MUST(mkdir(scratch_path("root/below"), 0755));
  const pid_t child = MUST(fork());
  if (child == 0) {
    const int scratch = MUST(open(scratch_directory, O_RDONLY | O_DIRECTORY));
    MUST(chdir(scratch_path("root")));
    MUST(chroot("."));
    MUST(chdir("/below"));
    const int inside = MUST(open("/inside", O_RDWR | O_CREAT, 0600));
    CHECK_EQUAL(write(inside, "inner", 5), 5);
    while (faccessat(scratch, "go", F_OK, 0) != 0) usleep(5000);
    char name[64] = "", text[8] = "";
    CHECK(getcwd(name, sizeof name) != NULL && !strcmp(name, "/below"), "the working directory is %s", name);
    CHECK_EQUAL(lseek(inside, 0, SEEK_CUR), 5);
    CHECK_EQUAL(lseek(outside, 0, SEEK_CUR), 3);
    CHECK_EQUAL(pread(MUST(open("/inside", O_RDONLY)), text, 8, 0), 5);
    CHECK(!strcmp(text, "inner"), "read %s", text);
    CHECK(open("/outside", O_RDONLY) == -1 && errno == ENOENT, "the root is the outer one");
    _exit(0);
  }
  for (int i = 0; i < 1000 && access(scratch_path("root/inside"), F_OK) != 0; i++) sleep_ms(5);
  checkpoint_here();
  expect_child_passes(child);
  return 0;
}
