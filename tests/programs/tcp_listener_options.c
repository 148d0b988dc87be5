// A listening TCP socket keeps its options and its backlog; two of them share a port (SO_REUSEPORT); one is bound only.
// covers: tcp-listen
#include "inet.h"

static const struct {
  int level, name, value;
} options[] = {
    {SOL_SOCKET, SO_KEEPALIVE, 1},         {SOL_SOCKET, SO_REUSEADDR, 1},  {SOL_SOCKET, SO_REUSEPORT, 1},
    {SOL_SOCKET, SO_RCVBUF, 40000},        {SOL_SOCKET, SO_SNDBUF, 30000}, {SOL_SOCKET, SO_PRIORITY, 4},
    {IPPROTO_TCP, TCP_NODELAY, 1},         {IPPROTO_TCP, TCP_KEEPIDLE, 77}, {IPPROTO_TCP, TCP_KEEPINTVL, 33},
    {IPPROTO_TCP, TCP_KEEPCNT, 4},         {IPPROTO_TCP, TCP_DEFER_ACCEPT, 10}, {IPPROTO_TCP, TCP_USER_TIMEOUT, 12345},
    {IPPROTO_IP, IP_TOS, 0x10},            {IPPROTO_IP, IP_TTL, 42},       {IPPROTO_IP, IP_FREEBIND, 1},
    {IPPROTO_TCP, TCP_MAXSEG, 1000},       {IPPROTO_TCP, TCP_LINGER2, 20}, {IPPROTO_TCP, TCP_SYNCNT, 3},
};
enum { kCount = sizeof options / sizeof *options };

static int backlog(int fd) {
  struct tcp_info information;
  socklen_t length = sizeof information;
  MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &information, &length));
  return information.tcpi_sacked;  // of a listening socket, its backlog
}

int main(int argc, char** argv) {
  begin(argc, argv);
  int listeners[2], before[2][kCount];
  struct sockaddr_in name = loopback(0);
  for (int i = 0; i < 2; i++) {
    listeners[i] = MUST(socket(AF_INET, SOCK_STREAM, 0));
    for (int option = 0; option < kCount; option++)
      if (i == 0 || options[option].name == SO_REUSEPORT || options[option].name == SO_REUSEADDR)
        set_option(listeners[i], options[option].level, options[option].name, options[option].value);
    const struct linger linger = {1, 5};
    if (i == 0) MUST(setsockopt(listeners[i], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    MUST(bind(listeners[i], (const struct sockaddr*)&name, sizeof name));
    name.sin_port = htons(port_of(listeners[i]));
    MUST(listen(listeners[i], 3 + i));
    for (int option = 0; option < kCount; option++) before[i][option] = option_of(listeners[i], options[option].level, options[option].name);
  }
  const int bound_only = bound(SOCK_STREAM, 0), bound_port = port_of(bound_only);
  checkpoint_here();
  for (int i = 0; i < 2; i++) {
    CHECK_EQUAL(port_of(listeners[i]), ntohs(name.sin_port));
    CHECK_EQUAL(backlog(listeners[i]), 3 + i);
    for (int option = 0; option < kCount; option++) {
      const int now = option_of(listeners[i], options[option].level, options[option].name);
      CHECK(now == before[i][option], "listener %d: option %d of level %d is %d, not %d", i, options[option].name, options[option].level,
            now, before[i][option]);
    }
  }
  struct linger linger;
  socklen_t length = sizeof linger;
  MUST(getsockopt(listeners[0], SOL_SOCKET, SO_LINGER, &linger, &length));
  CHECK_EQUAL(linger.l_onoff, 1);
  CHECK_EQUAL(linger.l_linger, 5);
  CHECK_EQUAL(port_of(bound_only), bound_port);
  const int other = MUST(socket(AF_INET, SOCK_STREAM, 0));
  const struct sockaddr_in taken = loopback(bound_port);
  CHECK(bind(other, (const struct sockaddr*)&taken, sizeof taken) == -1 && errno == EADDRINUSE, "the bound port is free");
  MUST(listen(bound_only, 1));
  return 0;
}
