// Threads asleep in accept, recv, recvmsg, read, send and connect on UNIX, TCP and UDP sockets sleep on, and get what comes afterwards.
// covers: unix-socket, tcp-listen, udp
#include "inet.h"
#include "sleepers.h"
#include <sys/un.h>

static char texts[8][64];
static long in_accept(void* fd) { return accept(*(int*)fd, NULL, NULL) >= 0 ? 0 : -1; }
static long in_accept4(void* fd) { return accept4(*(int*)fd, NULL, NULL, SOCK_CLOEXEC) >= 0 ? 0 : -1; }
static long in_recv(void* fd) { return recv(*(int*)fd, texts[0], 64, 0); }
static long in_recv_all(void* fd) { return recv(*(int*)fd, texts[1], 10, MSG_WAITALL); }
static long in_read(void* fd) { return read(*(int*)fd, texts[2], 64); }
static long in_recvmsg(void* fd) {
  struct iovec vector = {texts[3], 64};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  return recvmsg(*(int*)fd, &message, 0);
}
static char large[1 << 20];
static long in_send(void* fd) { return send(*(int*)fd, large, sizeof large, 0); }
static long in_connect(void* fd) {
  const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "full"};
  return connect(*(int*)fd, (const struct sockaddr*)&name, sizeof name);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(chdir(scratch_directory));
  int tcp = bound(SOCK_STREAM, 0), udp = bound(SOCK_DGRAM, 0), pairs[4][2];
  MUST(listen(tcp, 3));
  for (int i = 0; i < 4; i++) MUST(socketpair(AF_UNIX, i == 3 ? SOCK_DGRAM : SOCK_STREAM, 0, pairs[i]));
  const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "server"}, full_name = {.sun_family = AF_UNIX, .sun_path = "full"};
  int listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), full = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(bind(listener, (const struct sockaddr*)&name, sizeof name));
  MUST(bind(full, (const struct sockaddr*)&full_name, sizeof full_name));
  MUST(listen(listener, 3));
  MUST(listen(full, 0));
  const int first = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  int second = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(connect(first, (const struct sockaddr*)&full_name, sizeof full_name));
  for (size_t i = 0; i < sizeof large; i++) large[i] = (char)(i / 1000);
  CHECK_EQUAL(write(pairs[1][1], "01234", 5), 5);

  struct sleeper sleepers[] = {
      SLEEPER("accept on TCP", SYS_accept, in_accept, &tcp),
      SLEEPER("accept4 on a UNIX socket", SYS_accept4, in_accept4, &listener),
      SLEEPER("recv", SYS_recvfrom, in_recv, &pairs[0][0]),
      SLEEPER("recv of all, half there", SYS_recvfrom, in_recv_all, &pairs[1][0]),
      SLEEPER("read of a datagram", SYS_read, in_read, &pairs[3][0]),
      SLEEPER("recvmsg on UDP", SYS_recvmsg, in_recvmsg, &udp),
      SLEEPER("send of a megabyte", SYS_sendto, in_send, &pairs[2][0]),
      SLEEPER("connect to a full listener", SYS_connect, in_connect, &second),
  };
  enum { kCount = sizeof sleepers / sizeof *sleepers };
  start_sleepers(sleepers, kCount);
  checkpoint_here();
  expect_asleep(sleepers, kCount);
  connected_to(SOCK_STREAM, port_of(tcp));
  expect_returns(&sleepers[0], 0);
  MUST(connect(MUST(socket(AF_UNIX, SOCK_STREAM, 0)), (const struct sockaddr*)&name, sizeof name));
  expect_returns(&sleepers[1], 0);
  CHECK_EQUAL(write(pairs[0][1], "abc", 3), 3);
  expect_returns(&sleepers[2], 3);
  CHECK_EQUAL(write(pairs[1][1], "56789", 5), 5);
  expect_returns(&sleepers[3], 10);
  CHECK(!memcmp(texts[1], "0123456789", 10), "recv of all got %.10s", texts[1]);
  CHECK_EQUAL(write(pairs[3][1], "datagram", 8), 8);
  expect_returns(&sleepers[4], 8);
  CHECK_EQUAL(write(connected_to(SOCK_DGRAM, port_of(udp)), "udp", 3), 3);
  expect_returns(&sleepers[5], 3);
  static char received[sizeof large];
  CHECK_EQUAL(recv(pairs[2][1], received, sizeof received, MSG_WAITALL), sizeof large);
  CHECK(!memcmp(received, large, sizeof large), "the megabyte came over differently");
  expect_returns(&sleepers[6], sizeof large);
  MUST(accept(full, NULL, NULL));
  expect_returns(&sleepers[7], 0);
  return 0;
}
