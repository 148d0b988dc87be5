// Runs every blocking system call with every kind of timeout, signal and arrival, and prints what each returned, as JSON lines.
// The same program alone and under `perdure run` must print the same: see transparency.py.
//
// usage: transparency DIRECTORY [--at-once N] [--only SUBSTRING] [--cases FILE]
#include "trial.h"

#include <sys/prctl.h>
#include <sys/wait.h>

enum {
  short_timeout_ms = 300,
  long_timeout_ms = 600,
  give_up_ms = 1200,
  lateness_allowed_ms = 50,
  attempts_at_most = 25,
};

static const char* const timeout_names[] = {"none", "short", "long"};
static const char* const signalling_names[] = {"quiet", "handler", "restart"};
static const char* const arrival_names[] = {"nothing", "half", "all"};

static atomic_int handler_runs;
static atomic_int sleeping_from;  // 0: not yet; 1: started; 2: done
static atomic_int signalled;
static int64_t started_ns;
static int record_fd;
static char trial_name[96];
static char scratch[256];

enum { exit_late = 3 };

_Noreturn void setup_failed(const char* what) {
  dprintf(record_fd, "{\"case\": \"%s\", \"setup_failed\": \"%s: %s\"}\n", trial_name, what, strerror(errno));
  _exit(1);
}

int64_t now_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int milliseconds(const struct timespec* time) { return (int)(time->tv_sec * 1000 + time->tv_nsec / 1000000); }

static struct timespec from_ns(int64_t ns) { return (struct timespec){ns / 1000000000, ns % 1000000000}; }

const struct timespec* relative_timeout(const struct trial* trial, struct timespec* to) {
  if (trial->timeout_ms < 0) return NULL;
  *to = from_ns(trial->timeout_ms * 1000000LL);
  return to;
}

const struct timespec* absolute_timeout(const struct trial* trial, clockid_t clock, struct timespec* to) {
  if (trial->timeout_ms < 0) return NULL;
  *to = from_ns(now_ns(clock) + trial->timeout_ms * 1000000LL);
  return to;
}

long fill_to_the_brim(int fd) {
  static const char block[4096];
  int flags = NEED(fcntl(fd, F_GETFL));
  NEED(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
  long total = 0;
  for (size_t chunk = sizeof block; chunk > 0; chunk /= 8) {
    ssize_t written;
    while ((written = write(fd, block, chunk)) > 0) total += written;
  }
  NEED(fcntl(fd, F_SETFL, flags));
  return total;
}

static char pattern_at(long offset) { return (char)(offset * 31 + (offset >> 10)); }

void make_pattern(struct trial* trial) {
  for (long i = 0; i < transfer_bytes; i++) trial->buffer[i] = pattern_at(i);
}

void feed(int fd, long offset, long count) {
  char* bytes = malloc(count);
  for (long i = 0; i < count; i++) bytes[i] = pattern_at(offset + i);
  for (long done = 0, result; done < count; done += result) {
    result = write(fd, bytes + done, count - done);
    if (result < 0 && errno == EPIPE) break;  // the call under test has returned meanwhile
    NEED(result);
  }
  free(bytes);
}

void drain(struct trial* trial, int fd, long count) {
  static char block[65536];
  while (count > 0) {
    long got = NEED(read(fd, block, count < (long)sizeof block ? count : (long)sizeof block));
    if (got == 0) return;
    long offset = atomic_fetch_add(&trial->moved, got);
    for (long i = 0; i < got; i++)
      if (block[i] != pattern_at(offset + i)) {
        snprintf(trial->detail, sizeof trial->detail, "differs at %ld", offset + i);
        return;
      }
    count -= got;
  }
}

void describe_pattern(struct trial* trial, long count) {
  for (long i = 0; i < count; i++)
    if (trial->buffer[i] != pattern_at(i)) {
      snprintf(trial->detail, sizeof trial->detail, "differs at %ld", i);
      return;
    }
  if (count > 0) snprintf(trial->detail, sizeof trial->detail, "pattern");
}

void start_holder(struct trial* trial, void (*hold)(struct trial*), void (*command)(struct trial*, char)) {
  int commands[2], ready[2];
  NEED(pipe(commands));
  NEED(pipe(ready));
  trial->holder_pid = NEED(fork());
  if (trial->holder_pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    hold(trial);
    NEED(write(ready[1], "", 1));
    char byte;
    while (read(commands[0], &byte, 1) == 1) command(trial, byte);
    _exit(0);
  }
  char byte;
  NEED(read(ready[0], &byte, 1));
  trial->holder_command = commands[1];
}

void tell_holder(struct trial* trial, char byte) { NEED(write(trial->holder_command, &byte, 1)); }

static void on_signal(int number) {
  (void)number;
  atomic_fetch_add(&handler_runs, 1);
}

static _Noreturn void report(const struct blocking_case* kind, struct trial* trial, const char* outcome, int64_t ended_ns) {
  static atomic_flag reported = ATOMIC_FLAG_INIT;
  // Cleaning up wakes whoever still sleeps in the call; that is no result.
  while (atomic_flag_test_and_set(&reported)) pause();
  char line[640];
  int length = snprintf(line, sizeof line,
                        "{\"case\": \"%s\", \"outcome\": \"%s\", \"result\": %ld, \"errno\": \"%s\", \"elapsed_ms\": %.1f, "
                        "\"left_ms\": %d, \"handler_runs\": %d, \"moved_bytes\": %ld, \"detail\": \"%s\"}\n",
                        trial_name, outcome, trial->result, trial->error ? strerrorname_np(trial->error) : "",
                        (ended_ns - started_ns) / 1e6, trial->left_ms, atomic_load(&handler_runs), atomic_load(&trial->moved),
                        trial->detail);
  if (write(record_fd, line, length) != length) _exit(1);
  if (kind->finish) kind->finish(trial);
  _exit(0);
}

/// What happens around the sleeping call: signal, arrival, and the end of our patience.
struct companion {
  struct trial* trial;
  const struct blocking_case* kind;
  int signal_ms, arrival_ms;  // -1: never
  pthread_t sleeper;
};

/// False when the call has returned before that time.
static int sleep_to(int64_t at_ms) {
  int64_t target_ns = started_ns + at_ms * 1000000LL;
  struct timespec target = from_ns(target_ns);
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &target, NULL);
  if (atomic_load(&sleeping_from) == 2) return 0;
  // A machine too busy to keep the trial's order of events proves nothing: again, later.
  if (now_ns(CLOCK_MONOTONIC) - target_ns > lateness_allowed_ms * 1000000LL && at_ms != give_up_ms) _exit(exit_late);
  return 1;
}

static void* accompany(void* argument) {
  struct companion* companion = argument;
  while (atomic_load(&sleeping_from) == 0) usleep(200);
  if (companion->signal_ms >= 0) {
    if (!sleep_to(companion->signal_ms)) return NULL;
    atomic_store(&signalled, 1);
    pthread_kill(companion->sleeper, SIGUSR1);
  }
  if (companion->arrival_ms >= 0) {
    if (!sleep_to(companion->arrival_ms)) return NULL;
    atomic_store(&companion->trial->arriving, 1);
    companion->kind->arrive(companion->trial);
    atomic_store(&companion->trial->arriving, 2);
  }
  if (!sleep_to(give_up_ms)) return NULL;
  companion->trial->result = companion->trial->error = 0;
  report(companion->kind, companion->trial, "blocked", now_ns(CLOCK_MONOTONIC));
}

/// Whether the call returned after something should have happened that had not happened yet: see sleep_to().
static int overtook(const struct companion* companion, int64_t ended_ns) {
  const int ended_ms = (int)((ended_ns - started_ns) / 1000000);
  if (companion->signal_ms >= 0 && ended_ms > companion->signal_ms && !atomic_load(&signalled)) return 1;
  return companion->arrival_ms >= 0 && ended_ms > companion->arrival_ms && !atomic_load(&companion->trial->arriving);
}

static _Noreturn void run_trial(const struct blocking_case* kind, struct trial* trial) {
  signal(SIGPIPE, SIG_IGN);
  trial->buffer = calloc(1, transfer_bytes);
  trial->left_ms = trial->near = trial->far = trial->extra = trial->extra_far = trial->identifier = -1;
  trial->timeout_ms = trial->timeout == timeout_none ? -1 : trial->timeout == timeout_short ? short_timeout_ms : long_timeout_ms;
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = trial->signalling == signal_restart ? SA_RESTART : 0};
  sigaction(SIGUSR1, &action, NULL);

  int span_ms = trial->timeout == timeout_short ? short_timeout_ms : long_timeout_ms;
  struct companion companion = {.trial = trial, .kind = kind, .signal_ms = -1, .arrival_ms = -1, .sleeper = pthread_self()};
  if (trial->signalling != signal_none) companion.signal_ms = span_ms / 3;
  if (trial->arrival != arrives_nothing) companion.arrival_ms = span_ms * 2 / 3;

  if (kind->prepare) kind->prepare(trial);
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &before);
  pthread_t thread;
  if (pthread_create(&thread, NULL, accompany, &companion) != 0) setup_failed("pthread_create");
  sigprocmask(SIG_SETMASK, &before, NULL);

  started_ns = now_ns(CLOCK_MONOTONIC);
  atomic_store(&sleeping_from, 1);
  errno = 0;
  trial->result = kind->block(trial);
  trial->error = trial->result < 0 ? errno : 0;
  int64_t ended_ns = now_ns(CLOCK_MONOTONIC);
  if (overtook(&companion, ended_ns)) _exit(exit_late);
  atomic_store(&sleeping_from, 2);
  if (atomic_load(&trial->arriving)) {
    close(trial->near);  // so that whoever drains comes to an end
    while (atomic_load(&trial->arriving) == 1) usleep(200);
  }
  report(kind, trial, "returned", ended_ns);
}

struct planned {
  const struct blocking_case* kind;
  struct trial trial;
  int attempts, pid, done;
};

static int makes_sense(const struct blocking_case* kind, const struct trial* trial) {
  int variants = kind->variants;
  if (trial->timeout == timeout_none && (variants & must_timeout)) return 0;
  if (trial->timeout != timeout_none && !(variants & (has_timeout | must_timeout))) return 0;
  if (trial->arrival == arrives_half && !(variants & has_half)) return 0;
  if (trial->arrival == arrives_all && (variants & has_no_arrival)) return 0;
  if (trial->signalling != signal_none && (variants & no_signal_variants)) return 0;
  return 1;
}

static void name_trial(const struct planned* planned) {
  snprintf(trial_name, sizeof trial_name, "%s timeout=%s signal=%s arrives=%s", planned->kind->name,
           timeout_names[planned->trial.timeout], signalling_names[planned->trial.signalling],
           arrival_names[planned->trial.arrival]);
}

/// What of all there is shall run; a null means no restriction.
struct selection {
  const char* substring;
  const char* listed;  // names, each with a newline before and behind it
};

static int is_selected(const struct selection* selection) {
  char line[sizeof trial_name + 2];
  snprintf(line, sizeof line, "\n%s\n", trial_name);
  return (!selection->substring || strstr(trial_name, selection->substring)) && (!selection->listed || strstr(selection->listed, line));
}

static const char* read_list(const char* path) {
  int fd = NEED(open(path, O_RDONLY));
  enum { size = 1 << 20 };
  char* text = calloc(1, size);
  text[0] = '\n';
  ssize_t length = NEED(read(fd, text + 1, size - 3));
  text[1 + length] = '\n';
  close(fd);
  return text;
}

static unsigned plan(struct planned* plans, const struct blocking_case* cases, unsigned count, const struct selection* selection) {
  unsigned planned = 0;
  for (unsigned i = 0; i < count; i++)
    for (int variant = 0; variant < timeout_kinds * signalling_kinds * arrival_kinds; variant++) {
      struct planned next = {.kind = &cases[i],
                             .trial = {.timeout = variant % timeout_kinds,
                                       .signalling = variant / timeout_kinds % signalling_kinds,
                                       .arrival = variant / (timeout_kinds * signalling_kinds)}};
      name_trial(&next);
      if (makes_sense(&cases[i], &next.trial) && is_selected(selection)) plans[planned++] = next;
    }
  return planned;
}

static void start(struct planned* planned) {
  planned->attempts++;
  planned->pid = fork();
  if (planned->pid != 0) return;
  name_trial(planned);
  run_trial(planned->kind, &planned->trial);
}

static void finished(struct planned* planned, int status) {
  planned->pid = 0;
  if (WIFEXITED(status) && WEXITSTATUS(status) == exit_late && planned->attempts < attempts_at_most) return;
  planned->done = 1;
  if (WIFEXITED(status) && WEXITSTATUS(status) <= 1) return;
  name_trial(planned);
  dprintf(record_fd, "{\"case\": \"%s\", \"setup_failed\": \"%s, wait status %#x\"}\n", trial_name,
          WIFEXITED(status) ? "always late" : "died", status);
}

static void run_all(struct planned* plans, unsigned count, unsigned at_once) {
  unsigned running = 0, done = 0, next = 0;
  while (done < count) {
    for (unsigned looked = 0; running < at_once && looked < count; looked++, next = (next + 1) % count)
      if (!plans[next].done && !plans[next].pid) {
        start(&plans[next]);
        running++;
      }
    int status;
    int pid = waitpid(-1, &status, 0);
    for (unsigned i = 0; i < count; i++)
      if (plans[i].pid == pid && pid > 0) {
        finished(&plans[i], status);
        running--;
        done += plans[i].done;
      }
  }
}

/// Changes memory all the time: a group that sleeps as a whole would not be checkpointed at all.
static void* keep_busy(void* unused) {
  (void)unused;
  static volatile long ticks;
  for (;;) {
    ticks++;
    usleep(300);
  }
  return NULL;
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  unsigned at_once = 24;
  struct selection selection = {NULL, NULL};
  for (int i = 2; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--at-once")) at_once = (unsigned)atoi(argv[i + 1]);
    if (!strcmp(argv[i], "--only")) selection.substring = argv[i + 1];
    if (!strcmp(argv[i], "--cases")) selection.listed = read_list(argv[i + 1]);
  }
  snprintf(scratch, sizeof scratch, "%s/records", argv[1]);
  record_fd = open(scratch, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  if (record_fd < 0 || chdir(argv[1]) != 0) return 2;

  unsigned cases = stream_case_count + wait_case_count + ipc_case_count;
  struct planned* plans = calloc((size_t)cases * timeout_kinds * signalling_kinds * arrival_kinds, sizeof* plans);
  unsigned count = plan(plans, stream_cases, stream_case_count, &selection);
  count += plan(plans + count, wait_cases, wait_case_count, &selection);
  count += plan(plans + count, ipc_cases, ipc_case_count, &selection);
  pthread_t ticker;
  if (pthread_create(&ticker, NULL, keep_busy, NULL) != 0) return 2;
  run_all(plans, count, at_once);
  return 0;
}
