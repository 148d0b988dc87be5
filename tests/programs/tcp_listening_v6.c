// Listening TCP sockets over IPv6: on one address, for IPv6 only, and for both families on any address.
// covers: tcp-listen
#include "inet.h"

static void talk(int listener, int family, int port) {
  const struct sockaddr_in v4 = loopback(port);
  const struct sockaddr_in6 v6 = loopback6(port);
  const int client = MUST(socket(family, SOCK_STREAM, 0));
  if (family == AF_INET)
    MUST(connect(client, (const struct sockaddr*)&v4, sizeof v4));
  else
    MUST(connect(client, (const struct sockaddr*)&v6, sizeof v6));
  const int served = MUST(accept(listener, NULL, NULL));
  char byte;
  CHECK_EQUAL(write(client, "x", 1), 1);
  CHECK_EQUAL(read(served, &byte, 1), 1);
  MUST(close(client));
  MUST(close(served));
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int one = bound6(SOCK_STREAM);
  const struct sockaddr_in6 any = {.sin6_family = AF_INET6};
  const int only = MUST(socket(AF_INET6, SOCK_STREAM, 0)), dual = MUST(socket(AF_INET6, SOCK_STREAM, 0));
  set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  set_option(dual, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  MUST(bind(only, (const struct sockaddr*)&any, sizeof any));
  MUST(bind(dual, (const struct sockaddr*)&any, sizeof any));
  MUST(listen(one, 3));
  MUST(listen(only, 3));
  MUST(listen(dual, 3));
  const int ports[] = {port_of(one), port_of(only), port_of(dual)};
  checkpoint_here();
  CHECK_EQUAL(port_of(one), ports[0]);
  CHECK_EQUAL(port_of(only), ports[1]);
  CHECK_EQUAL(port_of(dual), ports[2]);
  CHECK_EQUAL(option_of(only, IPPROTO_IPV6, IPV6_V6ONLY), 1);
  CHECK_EQUAL(option_of(dual, IPPROTO_IPV6, IPV6_V6ONLY), 0);
  talk(one, AF_INET6, ports[0]);
  talk(only, AF_INET6, ports[1]);
  talk(dual, AF_INET6, ports[2]);
  talk(dual, AF_INET, ports[2]);
  const int refused = MUST(socket(AF_INET, SOCK_STREAM, 0));
  const struct sockaddr_in name = loopback(ports[1]);
  CHECK(connect(refused, (const struct sockaddr*)&name, sizeof name) == -1 && errno == ECONNREFUSED, "IPV6_V6ONLY is gone");
  return 0;
}
