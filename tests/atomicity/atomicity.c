// Two processes with four working threads each move tokens between their private memories, a shared one, two pipes and a socket pair.
//
// Every token exists exactly once, and shared memory knows how often it has travelled. Any consistent cut of the whole (memory, registers,
// what lies in pipes and sockets) keeps both true; a cut that is not consistent loses a token, doubles one, or takes one back in time.
// Over and over the program stops moving, lets everything in flight arrive, counts, and goes on.
//
// usage: atomicity DIRECTORY. The word in DIRECTORY/command (twice, eight characters each) is copied to DIRECTORY/answer after the first count begun
// after it was read; "stop" ends the program. What is wrong is written to DIRECTORY/failure.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { tokens = 4000, channels = 4, processes = 2, senders = 4, run_ms = 15, patience_ms = 20000, command_width = 8 };

/// Fills a cache line, so that pipes and sockets hold many pages of them.
struct token {
  uint32_t id, check;
  uint64_t hops;
  uint64_t padding[6];
};

struct pool {
  pthread_mutex_t lock;
  uint32_t count;
  struct token held[tokens];
};

enum phase { moving, stopping, reporting };

/// In shared memory.
struct world {
  struct pool shared;
  _Atomic uint64_t hops[tokens];
  _Atomic uint64_t sent[channels], received[channels];
  atomic_int phase, parked, reported;
  _Atomic uint64_t counts;  // how often all was counted
  _Atomic uint64_t round;   // moves when a count is over
  uint32_t reported_count[processes];
  struct token report[processes][tokens];
};

/// A channel and its ends; the sending and the receiving process differ.
struct channel {
  int from, to;  // descriptors
};

static struct world* world;
static struct pool* own;  // private memory, of each process its own
static int own_number;
static struct channel lanes[channels];  // 0, 1: from process 0 to process 1; 2, 3: back
static const char* directory;

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void write_file(const char* name, const char* text) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) _exit(3);
  close(fd);
}

static _Noreturn void broken(const char* format, ...) {
  char text[512];
  int error = errno;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  char line[700];
  snprintf(line, sizeof line, "%s (process %d, count %llu, errno %d)\n", text, own_number, (unsigned long long)world->counts, error);
  write_file("failure", line);
  dprintf(STDERR_FILENO, "%s", line);
  _exit(1);
}

static uint32_t check_of(const struct token* token) { return token->id * 2654435761u ^ (uint32_t)token->hops * 40503u; }

static void put(struct pool* pool, const struct token* token) {
  pthread_mutex_lock(&pool->lock);
  if (pool->count == tokens) broken("a pool has more tokens than there are");
  pool->held[pool->count++] = *token;
  pthread_mutex_unlock(&pool->lock);
}

static int take(struct pool* pool, struct token* token) {
  pthread_mutex_lock(&pool->lock);
  int found = pool->count > 0;
  if (found) *token = pool->held[--pool->count];
  pthread_mutex_unlock(&pool->lock);
  return found;
}

static void check_token(const struct token* token, const char* where) {
  if (token->id >= tokens || token->check != check_of(token)) broken("a token in %s is damaged", where);
  uint64_t known = world->hops[token->id];
  if (known != token->hops)
    broken("token %u in %s has travelled %llu times, but shared memory says %llu", token->id, where, (unsigned long long)token->hops,
           (unsigned long long)known);
}

static void travel(struct token* token) {
  token->hops++;
  world->hops[token->id]++;
  token->check = check_of(token);
}

/// Holds no token while it waits. The first sender of each process tells what its private pool holds. A sender that sleeps through the end of
/// a count and the begin of the next must not take the one for the other: it is the round that tells them apart.
static void park(int number) {
  const uint64_t round = world->round;
  world->parked++;
  while (world->phase == stopping && world->round == round) usleep(100);
  if (number % 2 == 0) {
    world->reported_count[own_number] = own->count;
    memcpy(world->report[own_number], own->held, own->count * sizeof(struct token));
    world->reported++;
  }
  while (world->round == round) usleep(100);
}

static void* send_tokens(void* argument) {
  int number = (int)(intptr_t)argument;
  unsigned seed = (unsigned)number;
  for (;;) {
    if (world->phase != moving) park(number);
    struct token token;
    if (!take(rand_r(&seed) % 3 == 0 ? &world->shared : own, &token)) {
      sched_yield();
      continue;
    }
    check_token(&token, "a pool");
    travel(&token);
    if (rand_r(&seed) % 4 == 0) {
      put(rand_r(&seed) % 2 == 0 ? &world->shared : own, &token);
      continue;
    }
    world->sent[number]++;
    ssize_t written = write(lanes[number].to, &token, sizeof token);
    if (written != sizeof token) broken("a write to channel %d returned %zd", number, written);
  }
  return NULL;
}

static void* receive_tokens(void* argument) {
  int number = (int)(intptr_t)argument;
  for (;;) {
    struct token token;
    size_t filled = 0;
    while (filled < sizeof token) {
      ssize_t got = read(lanes[number].from, (char*)&token + filled, sizeof token - filled);
      if (got <= 0) broken("a read from channel %d returned %zd", number, got);
      filled += (size_t)got;
    }
    check_token(&token, "a channel");
    put(own, &token);
    world->received[number]++;
  }
  return NULL;
}

static void count_token(const struct token* token, unsigned char* seen, const char* where) {
  check_token(token, where);
  if (seen[token->id]++) broken("token %u exists twice, once in %s", token->id, where);
}

static void count_everything(void) {
  static unsigned char seen[tokens];
  memset(seen, 0, sizeof seen);
  for (int process = 0; process < processes; process++)
    for (uint32_t i = 0; i < world->reported_count[process]; i++) count_token(&world->report[process][i], seen, "private memory");
  for (uint32_t i = 0; i < world->shared.count; i++) count_token(&world->shared.held[i], seen, "shared memory");
  for (int id = 0; id < tokens; id++)
    if (!seen[id]) broken("token %d is lost", id);
  world->counts++;
}

static void wait_until_all_arrived(void) {
  int64_t deadline = now_ms() + patience_ms;
  for (;;) {
    int all = world->parked == senders;
    for (int number = 0; number < channels; number++) all &= world->received[number] == world->sent[number];
    if (all) return;
    if (now_ms() > deadline) {
      char text[256] = "";
      for (int number = 0; number < channels; number++)
        snprintf(text + strlen(text), sizeof text - strlen(text), " %llu of %llu;", (unsigned long long)world->received[number],
                 (unsigned long long)world->sent[number]);
      broken("what was in flight never arrived, %d of %d senders stopped, received by channel:%s", world->parked, senders, text);
    }
    usleep(100);
  }
}

/// Stops everything, counts, and lets it go on.
static void verify(void) {
  world->phase = stopping;
  wait_until_all_arrived();
  world->phase = reporting;
  for (int64_t deadline = now_ms() + patience_ms; world->reported != processes;) {
    if (now_ms() > deadline) broken("%d of %d processes reported", world->reported, processes);
    usleep(100);
  }
  count_everything();
  world->parked = world->reported = 0;
  world->phase = moving;
  world->round++;
}

/// Empty when there is none, or only half of it.
static void read_command(char command[static command_width + 1]) {
  char path[512], text[2 * command_width] = "";
  snprintf(path, sizeof path, "%s/command", directory);
  command[0] = '\0';
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t got = read(fd, text, sizeof text);
  close(fd);
  if (got != sizeof text || memcmp(text, text + command_width, command_width) != 0) return;
  memcpy(command, text, command_width);
  command[command_width] = '\0';
  command[strcspn(command, " ")] = '\0';
}

static _Noreturn void coordinate(void) {
  char answered[command_width + 1] = "", command[command_width + 1];
  for (;;) {
    usleep(run_ms * 1000);
    read_command(command);
    verify();
    if (command[0] == '\0' || !strcmp(command, answered)) continue;
    if (!strcmp(command, "stop")) exit(0);
    char line[64];
    snprintf(line, sizeof line, "%s %llu\n", command, (unsigned long long)world->counts);
    write_file("answer", line);
    strcpy(answered, command);
  }
}

static void start_threads(void) {
  pthread_t thread;
  for (int number = 0; number < channels; number++) {
    int sends = number / 2 == own_number;
    if (pthread_create(&thread, NULL, sends ? send_tokens : receive_tokens, (void*)(intptr_t)number) != 0) broken("pthread_create");
  }
}

static void open_channels(void) {
  int ends[2];
  for (int number = 0; number < channels; number += 2) {
    if (pipe(ends) != 0) broken("pipe");
    lanes[number] = (struct channel){ends[0], ends[1]};
  }
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) broken("socketpair");
  lanes[1] = (struct channel){ends[0], ends[1]};
  lanes[3] = (struct channel){ends[1], ends[0]};
}

static void make_world(void) {
  world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  own = calloc(1, sizeof *own);
  if (world == MAP_FAILED || own == NULL) _exit(3);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&world->shared.lock, &attributes);
  pthread_mutex_init(&own->lock, NULL);
  for (uint32_t id = 0; id < tokens; id++) {
    struct token token = {.id = id};
    token.check = check_of(&token);
    put(&world->shared, &token);
  }
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  directory = argv[1];
  make_world();
  char path[512];
  snprintf(path, sizeof path, "%s/started", directory);
  if (open(path, O_CREAT | O_EXCL | O_WRONLY, 0600) < 0) broken("started anew instead of being resumed");
  open_channels();
  pid_t child = fork();
  if (child < 0) broken("fork");
  own_number = child == 0;
  if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  start_threads();
  if (child != 0) coordinate();
  for (;;) pause();
}
