// Addresses of the loopback interface.
#pragma once

#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static MAYBE_UNUSED struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static MAYBE_UNUSED struct sockaddr_in6 loopback6(int port) {
  return (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
}

/// The port a socket of either family is bound to.
static MAYBE_UNUSED int port_of(int fd) {
  struct sockaddr_in6 name = {0};
  socklen_t length = sizeof name;
  MUST(getsockname(fd, (struct sockaddr*)&name, &length));
  return ntohs(name.sin6_port);  // in the same place in sockaddr_in
}

static MAYBE_UNUSED int bound(int type, int port) {
  const int fd = MUST(socket(AF_INET, type, 0));
  const struct sockaddr_in name = loopback(port);
  MUST(bind(fd, (const struct sockaddr*)&name, sizeof name));
  return fd;
}

static MAYBE_UNUSED int bound6(int type) {
  const int fd = socket(AF_INET6, type, 0);
  const struct sockaddr_in6 name = loopback6(0);
  if (fd < 0 || bind(fd, (const struct sockaddr*)&name, sizeof name) != 0) SKIP("no IPv6 here");
  return fd;
}

static MAYBE_UNUSED int connected_to(int type, int port) {
  const int fd = MUST(socket(AF_INET, type, 0));
  const struct sockaddr_in name = loopback(port);
  MUST(connect(fd, (const struct sockaddr*)&name, sizeof name));
  return fd;
}

static MAYBE_UNUSED int option_of(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  MUST(getsockopt(fd, level, name, &value, &length));
  return value;
}

static MAYBE_UNUSED void set_option(int fd, int level, int name, int value) { MUST(setsockopt(fd, level, name, &value, sizeof value)); }
