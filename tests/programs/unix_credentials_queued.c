// SO_PASSCRED, and messages on their way with the credentials of who sent them: another process, another user.
// covers: unix-queue
#include "check.h"
#include <sys/socket.h>

static struct ucred receive(int fd, char* text) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(struct ucred))];
  } control;
  struct iovec vector = {text, 32};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  memset(text, 0, 32);
  CHECK(recvmsg(fd, &message, MSG_DONTWAIT) > 0, "no message");
  const struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  CHECK(header && header->cmsg_type == SCM_CREDENTIALS, "no credentials");
  struct ucred credentials;
  memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
  return credentials;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  int pair[2], enabled = 1;
  MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
  MUST(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &enabled, sizeof enabled));
  CHECK_EQUAL(write(pair[1], "own", 3), 3);
  const pid_t child = MUST(fork());
  if (child == 0) {
    MUST(setgid(4321));
    MUST(setuid(1234));
    CHECK_EQUAL(write(pair[1], "other", 5), 5);
    _exit(0);
  }
  expect_child_passes(child);
  checkpoint_here();
  enabled = 0;
  socklen_t length = sizeof enabled;
  MUST(getsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &enabled, &length));
  CHECK_EQUAL(enabled, 1);
  char text[32];
  struct ucred credentials = receive(pair[0], text);
  CHECK(!strcmp(text, "own"), "read %s", text);
  CHECK_EQUAL(credentials.pid, getpid());
  CHECK_EQUAL(credentials.uid, getuid());
  credentials = receive(pair[0], text);
  CHECK(!strcmp(text, "other"), "read %s", text);
  CHECK_EQUAL(credentials.uid, 1234);
  CHECK_EQUAL(credentials.gid, 4321);
  return 0;
}
