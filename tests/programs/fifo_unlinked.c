// A FIFO whose name is gone, with data in it, its ends in two processes.
// covers: fifo
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("fifo");
  MUST(mkfifo(path, 0600));
  const int reader = MUST(open(path, O_RDONLY | O_NONBLOCK));
  int ready[2];
  MUST(pipe(ready));
  const pid_t child = MUST(fork());
  if (child == 0) {
    MUST(close(reader));
    const int writer = MUST(open(path, O_WRONLY));
    CHECK_EQUAL(write(writer, "before", 6), 6);
    CHECK_EQUAL(write(ready[1], "", 1), 1);
    wait_released(0);
    CHECK_EQUAL(write(writer, "after", 5), 5);
    _exit(0);
  }
  char text[16] = "";
  CHECK_EQUAL(read(ready[0], text, 1), 1);
  MUST(unlink(path));
  checkpoint_here();
  expect_child_passes(child);
  CHECK_EQUAL(read(reader, text, sizeof text), 11);
  CHECK(!strcmp(text, "beforeafter"), "read %s", text);
  CHECK_EQUAL(read(reader, text, sizeof text), 0);
  CHECK(access(path, F_OK) == -1, "the FIFO's name came back");
  return 0;
}
