// A program to be paused: threads, processes, descriptors and memory as asked for, and an outside witness of every pause.
//
// Each busy thread spins on the clock, writes `dirty-pages` random pages in every period, and notes each gap between two readings of the clock: what the
// program itself saw of being stopped. The load makes DIRECTORY/ready once everything is there, measures from the moment that DIRECTORY/go exists, and prints
// one line of JSON at its end. For bench/floor it says on standard output who there is to stop: "process PID", "busy TID", "child PID".
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kPageSize = 4096, kGapsMax = 1 << 18, kStackSize = 64 << 10, kBusyMax = 64, kTouchedAtOnce = 8 };
enum { kWaiting, kMeasuring, kOver };
static const int64_t kSecond = 1000000000;
// Shorter ones are the loop itself and its page faults.
static const int64_t kGapMin_ns = 12000;

struct Options {
  uint64_t resident_mb;
  uint64_t dirty_pages;    // in a period, of all busy threads together
  uint64_t period_us;
  uint64_t fork_every_ms;  // 0: never
  int busy_threads, idle_threads, descriptors, processes, busy_processes;
  double seconds;
  bool only_reads;
  const char* directory;
};

struct Worker {
  const struct Options* options;
  uint8_t* memory;
  uint64_t pages;
  uint64_t dirty_pages;
  uint64_t random;
  _Atomic int* stage;
  // The result.
  uint64_t work;
  uint64_t touched;
  uint32_t gap_count;
  int64_t begin_ns, end_ns;
  uint32_t* gaps_ns;
};

static void fail(const char* what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t now_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

static uint64_t next_random(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static void note_gap(struct Worker* worker, int64_t gap_ns) {
  if (gap_ns < kGapMin_ns || worker->gap_count == kGapsMax) return;
  worker->gaps_ns[worker->gap_count++] = gap_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)gap_ns;
}

/// Touches a few of the pages that are due by now; of what a long pause left undone, no more than one period's is made up for.
static void touch_due(struct Worker* worker, int64_t since_start_ns, uint64_t* done) {
  const double period_ns = (double)worker->options->period_us * 1000;
  const uint64_t due = (uint64_t)((double)since_start_ns / period_ns * (double)worker->dirty_pages);
  if (due - *done > worker->dirty_pages) *done = due - worker->dirty_pages;
  for (int i = 0; i < kTouchedAtOnce && *done < due; ++i, ++*done) {
    volatile uint64_t* word = (volatile uint64_t*)(worker->memory + next_random(&worker->random) % worker->pages * kPageSize);
    if (worker->options->only_reads) {
      (void)*word;
    } else {
      *word += 1;
    }
    ++worker->touched;
  }
}

static void* be_busy(void* argument) {
  struct Worker* worker = argument;
  dprintf(1, "busy %ld\n", syscall(SYS_gettid));
  const int64_t start_ns = now_ns(CLOCK_MONOTONIC);
  int64_t last_ns = start_ns;
  uint64_t done = 0;
  int stage = kWaiting;
  while (stage != kOver) {
    touch_due(worker, last_ns - start_ns, &done);
    const int64_t time_ns = now_ns(CLOCK_MONOTONIC);
    if (stage == kMeasuring) {
      note_gap(worker, time_ns - last_ns);
      ++worker->work;
    }
    last_ns = time_ns;
    const int next = atomic_load_explicit(worker->stage, memory_order_relaxed);
    if (next == stage) continue;
    if (next == kMeasuring) {
      worker->begin_ns = now_ns(CLOCK_REALTIME);
      worker->touched = 0;
    }
    stage = next;
  }
  worker->end_ns = now_ns(CLOCK_REALTIME);
  return NULL;
}

static void* be_idle(void* argument) {
  (void)argument;
  for (;;) pause();
  return NULL;
}

static pthread_t start_thread(void* (*body)(void*), void* argument) {
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackSize);
  if ((errno = pthread_create(&thread, &attributes, body, argument)) != 0) fail("pthread_create");
  pthread_attr_destroy(&attributes);
  return thread;
}

/// One descriptor of each kind in turn.
static void open_descriptor(int number) {
  int fd = -1;
  int pair[2];
  struct epoll_event event = {.events = EPOLLIN};
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR2);
  switch (number % 10) {
    case 0: fd = open("/proc/self/exe", O_RDONLY); break;
    case 1: fd = open("/dev/null", O_RDWR); break;
    case 2: fd = pipe(pair); break;
    case 3: fd = eventfd(1, EFD_NONBLOCK); break;
    case 4: fd = timerfd_create(CLOCK_MONOTONIC, 0); break;
    case 5: fd = signalfd(-1, &signals, 0); break;
    case 6: fd = inotify_init(); break;
    case 7: fd = socketpair(AF_UNIX, SOCK_STREAM, 0, pair); break;
    case 8: fd = socket(AF_INET, SOCK_DGRAM, 0); break;
    default:
      fd = epoll_create1(0);
      if (fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, eventfd(0, 0), &event) != 0) fail("epoll_ctl");
  }
  if (fd < 0) fail("open a descriptor");
}

static uint8_t* allocate(uint64_t pages) {
  uint8_t* memory = mmap(NULL, pages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  madvise(memory, pages * kPageSize, MADV_NOHUGEPAGE);
  for (uint64_t page = 0; page < pages; ++page) memset(memory + page * kPageSize, (int)(page % 251) + 1, kPageSize);
  return memory;
}

/// What the processes of one load share.
struct Shared {
  _Atomic int stage;
  _Atomic int ready;
};

static void prepare(struct Worker* worker, const struct Options* options, struct Shared* shared, uint64_t seed) {
  worker->options = options;
  worker->stage = &shared->stage;
  worker->random = seed * 0x9e3779b97f4a7c15 + 1;
  worker->pages = (options->resident_mb << 20) / kPageSize / (uint64_t)options->processes;
  worker->dirty_pages = options->dirty_pages / (uint64_t)(options->busy_processes * (options->busy_threads > 0 ? options->busy_threads : 1));
  worker->gaps_ns = malloc(kGapsMax * sizeof *worker->gaps_ns);
  if (worker->gaps_ns == NULL) fail("malloc");
}

/// A process beside the first: asleep, or with one busy thread.
static void start_process(const struct Options* options, struct Shared* shared, int number) {
  const pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dprintf(1, "process %d\n", getpid());
  struct Worker worker = {0};
  prepare(&worker, options, shared, (uint64_t)number + 1000);
  worker.memory = allocate(worker.pages);
  atomic_fetch_add(&shared->ready, 1);
  if (number < options->busy_processes) be_busy(&worker);
  be_idle(NULL);
}

/// Forks sleeping children one after the other, while the load is measured; prints when.
static void fork_for(const struct Options* options, int64_t end_ns, char* forks, size_t size) {
  size_t length = 0;
  while (now_ns(CLOCK_MONOTONIC) < end_ns && length + 32 < size) {
    const int64_t time_ns = now_ns(CLOCK_REALTIME);
    const pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      be_idle(NULL);
    }
    dprintf(1, "child %d\n", child);
    length += (size_t)snprintf(forks + length, size - length, "%s%lld", length == 0 ? "" : ",", (long long)time_ns);
    usleep((useconds_t)(options->fork_every_ms * 1000));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
}

static bool exists(const struct Options* options, const char* name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", options->directory, name);
  return access(path, F_OK) == 0;
}

static void create(const struct Options* options, const char* name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", options->directory, name);
  const int fd = open(path, O_CREAT | O_WRONLY, 0644);
  if (fd < 0) fail(path);
  close(fd);
}

static void report(const struct Worker* workers, int count, const char* forks) {
  uint64_t work = 0, touched = 0;
  for (int i = 0; i < count; ++i) {
    work += workers[i].work;
    touched += workers[i].touched;
  }
  printf("{\"begin_ns\": %lld, \"end_ns\": %lld, \"work\": %llu, \"touched_pages\": %llu, \"forks_ns\": [%s], \"gaps_us\": [", (long long)workers[0].begin_ns,
         (long long)workers[0].end_ns, (unsigned long long)work, (unsigned long long)touched, forks);
  for (uint32_t i = 0; i < workers[0].gap_count; ++i) printf("%s%.1f", i == 0 ? "" : ", ", workers[0].gaps_ns[i] / 1000.0);
  printf("]}\n");
  fflush(stdout);
}

static struct Options parse(int argc, char** argv) {
  struct Options options = {.resident_mb = 64, .dirty_pages = 100, .period_us = 10000, .busy_threads = 1, .processes = 1, .busy_processes = 1, .seconds = 1, .directory = "."};
  static const struct option names[] = {
      {"resident-mb", 1, NULL, 'm'}, {"dirty-pages", 1, NULL, 'd'}, {"period-us", 1, NULL, 'p'},    {"fork-every-ms", 1, NULL, 'f'},
      {"busy-threads", 1, NULL, 'b'}, {"idle-threads", 1, NULL, 'i'}, {"descriptors", 1, NULL, 'n'}, {"processes", 1, NULL, 'k'},
      {"busy-processes", 1, NULL, 'K'}, {"seconds", 1, NULL, 's'},    {"only-reads", 0, NULL, 'r'},  {"directory", 1, NULL, 'D'}, {0}};
  for (int name; (name = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
    const uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;
    switch (name) {
      case 'm': options.resident_mb = number; break;
      case 'd': options.dirty_pages = number; break;
      case 'p': options.period_us = number; break;
      case 'f': options.fork_every_ms = number; break;
      case 'b': options.busy_threads = (int)number; break;
      case 'i': options.idle_threads = (int)number; break;
      case 'n': options.descriptors = (int)number; break;
      case 'k': options.processes = (int)number; break;
      case 'K': options.busy_processes = (int)number; break;
      case 's': options.seconds = strtod(optarg, NULL); break;
      case 'r': options.only_reads = true; break;
      case 'D': options.directory = optarg; break;
      default: exit(2);
    }
  }
  if (options.busy_threads < 0 || options.busy_threads > kBusyMax) {
    fprintf(stderr, "load: at most %d busy threads\n", kBusyMax);
    exit(2);
  }
  return options;
}

static void start_threads(const struct Options* options, struct Shared* shared, struct Worker* workers, pthread_t* threads) {
  uint8_t* memory = allocate((options->resident_mb << 20) / kPageSize / (uint64_t)options->processes);
  for (int i = 0; i < options->descriptors; ++i) open_descriptor(i);
  for (int i = 0; i < options->idle_threads; ++i) start_thread(be_idle, NULL);
  for (int i = 0; i < options->busy_threads; ++i) {
    prepare(&workers[i], options, shared, (uint64_t)i + 1);
    workers[i].memory = memory;
    threads[i] = start_thread(be_busy, &workers[i]);
  }
}

static void measure(const struct Options* options, struct Shared* shared, char* forks, size_t size) {
  atomic_store(&shared->stage, kMeasuring);
  const int64_t end_ns = now_ns(CLOCK_MONOTONIC) + (int64_t)(options->seconds * (double)kSecond);
  if (options->fork_every_ms > 0) fork_for(options, end_ns, forks, size);
  const struct timespec end = {end_ns / kSecond, end_ns % kSecond};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR) continue;
  atomic_store(&shared->stage, kOver);
}

int main(int argc, char** argv) {
  static struct Worker workers[kBusyMax];
  static pthread_t threads[kBusyMax];
  static char forks[1 << 16];
  const struct Options options = parse(argc, argv);
  struct Shared* shared = mmap(NULL, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) fail("mmap");
  dprintf(1, "process %d\n", getpid());
  for (int number = 1; number < options.processes; ++number) start_process(&options, shared, number);
  start_threads(&options, shared, workers, threads);
  while (atomic_load(&shared->ready) < options.processes - 1) usleep(1000);
  create(&options, "ready");
  while (!exists(&options, "go")) usleep(5000);
  measure(&options, shared, forks, sizeof forks);
  for (int i = 0; i < options.busy_threads; ++i) pthread_join(threads[i], NULL);
  report(workers, options.busy_threads, forks);
  return 0;
}
