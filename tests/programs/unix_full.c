// A UNIX stream socket that takes no more: still full after the restore, and written to the end once it is read.
// covers: unix-socket, unix-queue
#include "check.h"
#include <poll.h>
#include <sys/socket.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
  long sent = 0, received = 0, result;
  char block[4096];
  for (;;) {
    memset(block, (int)(sent / sizeof block), sizeof block);
    if ((result = write(pair[0], block, sizeof block)) < 0) break;
    CHECK_EQUAL(result, sizeof block);
    sent += result;
  }
  CHECK_EQUAL(errno, EAGAIN);
  checkpoint_here();
  struct pollfd polled = {pair[0], POLLOUT, 0};
  CHECK_EQUAL(poll(&polled, 1, 0), 0);
  for (; (result = read(pair[1], block, sizeof block)) > 0; received += result)
    for (long i = 0; i < result; i++)
      CHECK((unsigned char)block[i] == (unsigned char)((received + i) / sizeof block), "byte %ld is %d", received + i, block[i]);
  CHECK_EQUAL(received, sent);
  CHECK_EQUAL(poll(&polled, 1, 0), 1);
  return 0;
}
