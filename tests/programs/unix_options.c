// Options of UNIX sockets: buffer sizes, timeouts, linger, priority, peek offset, passing of credentials.
// covers: unix-socket
#include "check.h"
#include <sys/socket.h>

static int option(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  MUST(getsockopt(fd, SOL_SOCKET, name, &value, &length));
  return value;
}

static const struct {
  int name, value;
} options[] = {{SO_SNDBUF, 30000}, {SO_RCVBUF, 50000}, {SO_PRIORITY, 3}, {SO_PASSCRED, 1}, {SO_PASSSEC, 1},
               {SO_RCVLOWAT, 5},   {SO_MARK, 77},      {SO_OOBINLINE, 1}, {SO_TIMESTAMP, 1}};
enum { kCount = sizeof options / sizeof *options };

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2], before[kCount], defaults[kCount];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  const struct timeval receive = {3, 500000}, send = {7, 0};
  MUST(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof receive));
  MUST(setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &send, sizeof send));
  const struct linger linger = {1, 9};
  MUST(setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
  for (int i = 0; i < kCount; i++) {
    defaults[i] = option(pair[1], options[i].name);
    if (setsockopt(pair[0], SOL_SOCKET, options[i].name, &options[i].value, sizeof(int)) == -1) CHECK_EQUAL(errno, EOPNOTSUPP);
    before[i] = option(pair[0], options[i].name);
  }
  checkpoint_here();
  for (int i = 0; i < kCount; i++) {
    CHECK(option(pair[0], options[i].name) == before[i], "option %d is %d, not %d", options[i].name, option(pair[0], options[i].name), before[i]);
    CHECK(option(pair[1], options[i].name) == defaults[i], "option %d of the peer is %d", options[i].name, option(pair[1], options[i].name));
  }
  struct timeval time;
  socklen_t length = sizeof time;
  MUST(getsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, &length));
  CHECK_EQUAL(time.tv_sec * 1000000 + time.tv_usec, 3500000);
  MUST(getsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &time, &length));
  CHECK_EQUAL(time.tv_sec * 1000000 + time.tv_usec, 7000000);
  struct linger found;
  length = sizeof found;
  MUST(getsockopt(pair[0], SOL_SOCKET, SO_LINGER, &found, &length));
  CHECK_EQUAL(found.l_onoff, 1);
  CHECK_EQUAL(found.l_linger, 9);
  return 0;
}
