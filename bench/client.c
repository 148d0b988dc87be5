// Requests to a server as fast as it answers them: client memcached|redis PORT CONNECTIONS SECONDS SETS_PERCENT
// Each connection has one request under way: a get, or a set of 100 bytes, of one of 100 000 keys. Prints {"rps", "p50_latency_ms", "p99_latency_ms",
// "max_latency_ms"}.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { kKeys = 100000, kValueBytes = 100, kSlots = 1 << 20 /* of a microsecond */, kConnectionsMax = 1024, kReplyMax = 512 };

struct Connection {
  int fd;
  int64_t asked_ns;
  size_t got;
  char reply[kReplyMax];
};

static void fail(const char* what) {
  fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static uint64_t next_random(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static int connect_to(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int on = 1;
  if (fd < 0 || connect(fd, (const struct sockaddr*)&address, sizeof address) != 0) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int write_request(char* request, size_t size, int is_redis, int is_set, unsigned key) {
  static char value[kValueBytes + 1];
  if (value[0] == 0) memset(value, 'v', kValueBytes);
  if (is_redis && is_set) return snprintf(request, size, "*3\r\n$3\r\nSET\r\n$12\r\nkey:%08u\r\n$%d\r\n%s\r\n", key, kValueBytes, value);
  if (is_redis) return snprintf(request, size, "*2\r\n$3\r\nGET\r\n$12\r\nkey:%08u\r\n", key);
  if (is_set) return snprintf(request, size, "set key:%08u 0 0 %d\r\n%s\r\n", key, kValueBytes, value);
  return snprintf(request, size, "get key:%08u\r\n", key);
}

static void ask(struct Connection* connection, int is_redis, unsigned sets_percent, uint64_t* random) {
  char request[256];
  const unsigned key = (unsigned)(next_random(random) % kKeys);
  const int is_set = next_random(random) % 100 < sets_percent;
  const int length = write_request(request, sizeof request, is_redis, is_set, key);
  connection->got = 0;
  connection->asked_ns = now_ns();
  if (write(connection->fd, request, (size_t)length) != length) fail("write");
}

static int ends_with(const struct Connection* connection, const char* end) {
  const size_t length = strlen(end);
  return connection->got >= length && memcmp(connection->reply + connection->got - length, end, length) == 0;
}

/// Whether the reply is there as a whole.
static int is_answered(struct Connection* connection) {
  const ssize_t got = read(connection->fd, connection->reply + connection->got, kReplyMax - 1 - connection->got);
  if (got <= 0) fail("read");
  connection->got += (size_t)got;
  connection->reply[connection->got] = 0;
  if (strncmp(connection->reply, "VALUE", 5) == 0) return ends_with(connection, "\r\nEND\r\n");
  if (!ends_with(connection, "\r\n")) return 0;
  if (connection->reply[0] == '$' && connection->reply[1] != '-') return connection->got > kValueBytes;
  static const char* const known[] = {"STORED\r\n", "END\r\n", "+OK\r\n", "$-1\r\n"};
  for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
    if (strcmp(connection->reply, known[i]) == 0) return 1;
  fprintf(stderr, "client: unexpected reply: %s", connection->reply);
  exit(1);
}

static double percentile_ms(const uint32_t* slots, uint64_t count, double share) {
  uint64_t seen = 0;
  for (int slot = 0; slot < kSlots; ++slot)
    if ((seen += slots[slot]) > (uint64_t)(share * (double)count)) return slot / 1000.0;
  return kSlots / 1000.0;
}

int main(int argc, char** argv) {
  if (argc != 6 || atoi(argv[3]) < 1 || atoi(argv[3]) > kConnectionsMax) {
    fprintf(stderr, "usage: client memcached|redis PORT CONNECTIONS SECONDS SETS_PERCENT\n");
    return 2;
  }
  const int connection_count = atoi(argv[3]);
  const int is_redis = strcmp(argv[1], "redis") == 0;
  const unsigned sets_percent = (unsigned)atoi(argv[5]);
  static struct Connection connections[kConnectionsMax];
  static uint32_t slots[kSlots];
  uint64_t random = 88172645463325252ull;
  uint64_t count = 0;
  int64_t longest_ns = 0;
  const int epoll = epoll_create1(0);
  for (int i = 0; i < connection_count; ++i) {
    connections[i].fd = connect_to(atoi(argv[2]));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event) != 0) fail("epoll_ctl");
    ask(&connections[i], is_redis, sets_percent, &random);
  }
  const int64_t start_ns = now_ns();
  const int64_t end_ns = start_ns + (int64_t)(strtod(argv[4], NULL) * 1e9);
  while (now_ns() < end_ns) {
    struct epoll_event events[kConnectionsMax];
    const int ready = epoll_wait(epoll, events, connection_count, 1000);
    for (int i = 0; i < ready; ++i) {
      struct Connection* connection = events[i].data.ptr;
      if (!is_answered(connection)) continue;
      const int64_t took_ns = now_ns() - connection->asked_ns;
      if (took_ns > longest_ns) longest_ns = took_ns;
      ++slots[took_ns / 1000 < kSlots ? took_ns / 1000 : kSlots - 1];
      ++count;
      ask(connection, is_redis, sets_percent, &random);
    }
  }
  const double seconds = (double)(now_ns() - start_ns) / 1e9;
  printf("{\"rps\": %.0f, \"p50_latency_ms\": %.3f, \"p99_latency_ms\": %.3f, \"max_latency_ms\": %.3f}\n", (double)count / seconds,
         percentile_ms(slots, count, 0.5), percentile_ms(slots, count, 0.99), (double)longest_ns / 1e6);
  return 0;
}
