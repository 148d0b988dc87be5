// A FIFO with data in it: opened by both ends, for reading and writing at once, and by a name opened again afterwards.
// covers: fifo
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("fifo");
  MUST(mkfifo(path, 0600));
  const int both = MUST(open(path, O_RDWR));
  const int reader = MUST(open(path, O_RDONLY | O_NONBLOCK));
  const int writer = MUST(open(path, O_WRONLY));
  CHECK_EQUAL(write(writer, "0123456789", 10), 10);
  char text[16] = "";
  CHECK_EQUAL(read(reader, text, 2), 2);
  checkpoint_here();
  CHECK_EQUAL(MUST(fcntl(both, F_GETFL)) & O_ACCMODE, O_RDWR);
  const int late = MUST(open(path, O_WRONLY | O_NONBLOCK));
  CHECK_EQUAL(write(late, "late", 4), 4);
  CHECK_EQUAL(read(both, text, 3), 3);
  CHECK(!strncmp(text, "234", 3), "read %s", text);
  memset(text, 0, sizeof text);
  CHECK_EQUAL(read(reader, text, sizeof text), 9);
  CHECK(!strcmp(text, "56789late"), "read %s", text);
  CHECK(read(reader, text, 1) == -1 && errno == EAGAIN, "the FIFO is not empty");
  MUST(close(both));
  MUST(close(writer));
  MUST(close(late));
  CHECK_EQUAL(read(reader, text, 1), 0);
  return 0;
}
