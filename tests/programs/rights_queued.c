// Descriptors in flight: several in one message, messages without any before and behind, a file that stays open here as well.
// covers: unix-queue, scm-rights
#include "rights.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2], fds[16];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  const int kept = MUST(open(scratch_path("kept"), O_RDWR | O_CREAT, 0600));
  const int sent = MUST(open(scratch_path("sent"), O_RDWR | O_CREAT | O_APPEND, 0600));
  CHECK_EQUAL(write(kept, "kept", 4), 4);
  CHECK_EQUAL(write(sent, "sent", 4), 4);
  CHECK_EQUAL(write(pair[0], "before", 6), 6);
  send_descriptors(pair[0], "two", (int[]){kept, sent}, 2);
  CHECK_EQUAL(write(pair[0], "between", 7), 7);
  send_descriptors(pair[0], "one", (int[]){kept}, 1);
  MUST(close(sent));
  checkpoint_here();
  CHECK_EQUAL(receive_descriptors(pair[1], "before", fds), 0);
  CHECK_EQUAL(receive_descriptors(pair[1], "two", fds), 2);
  MUST(lseek(kept, 1, SEEK_SET));
  CHECK_EQUAL(lseek(fds[0], 0, SEEK_CUR), 1);
  CHECK_EQUAL(lseek(fds[1], 0, SEEK_CUR), 4);
  CHECK(MUST(fcntl(fds[1], F_GETFL)) & O_APPEND, "O_APPEND is gone");
  char text[8] = "";
  CHECK_EQUAL(pread(fds[1], text, sizeof text, 0), 4);
  CHECK(!strcmp(text, "sent"), "read %s", text);
  CHECK_EQUAL(receive_descriptors(pair[1], "between", fds), 0);
  CHECK_EQUAL(receive_descriptors(pair[1], "one", fds), 1);
  CHECK_EQUAL(lseek(fds[0], 0, SEEK_CUR), 1);
  return 0;
}
