// What every test program shares: the protocol with tests/run_programs.py, and checks.
//
// A program is one small C file that shows one kernel behaviour. Its header comment says what it shows, then, one a line:
//   // covers: kind, kind          kinds, or fields of the records (Process.parent_pid), whose capture, disabled by `perdure run --mutate KIND`,
//                                 must make it fail
//   // refused: REGEX              `perdure checkpoint` must refuse it with a message that matches, and it must run on
//   // rounds: N                   it calls checkpoint_round(1) to checkpoint_round(N) instead of checkpoint_here()
//   // timeout: SECONDS            for one run of it, where 30 are not enough
//   // downtime: SECONDS           how long the runner waits between the kill and the resume; the file "go" says it too (0 without a kill)
//   // terminal: yes               its standard input is a terminal, which controls it
//   // not-in: MODE (reason)       a mode of the runner (alone, plain, audit, reboot, lazy) that cannot apply to it
// It sets something up, calls one of the checkpoint functions (the runner then takes a checkpoint, kills everything and runs the
// same command again), looks at itself, and exits 0, or 1 with what differed on stderr, or 77 where the machine lacks what it needs.
// argv[1] is a scratch directory of mode 0777 below directories that anyone may search.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAYBE_UNUSED __attribute__((unused))

static char scratch_directory[512];

static MAYBE_UNUSED void fail(const char* file, int line, const char* condition, const char* format, ...) {
  const int error = errno;
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  dprintf(STDERR_FILENO, "%s:%d: %s is not so; %s (errno %d, %s)\n", file, line, condition, text, error, strerror(error));
  _exit(1);
}

/// Ends this process with status 1 unless `condition` holds; the arguments (printf's) say what was seen.
#define CHECK(condition, ...)                                           \
  do {                                                                  \
    if (!(condition)) fail(__FILE__, __LINE__, #condition, __VA_ARGS__); \
  } while (0)

/// CHECK(a == b) for integers, with both values in the message.
#define CHECK_EQUAL(actual, expected)                                                                         \
  do {                                                                                                        \
    const long long check_actual = (long long)(actual), check_expected = (long long)(expected);              \
    if (check_actual != check_expected)                                                                       \
      fail(__FILE__, __LINE__, #actual " == " #expected, "%lld (0x%llx), not %lld (0x%llx)", check_actual,   \
           (unsigned long long)check_actual, check_expected, (unsigned long long)check_expected);            \
  } while (0)

/// A call that returns -1 on failure; its value.
#define MUST(call)                                                                       \
  ({                                                                                     \
    const long must_result = (long)(call);                                               \
    if (must_result == -1) fail(__FILE__, __LINE__, #call " succeeds", "it returned -1"); \
    must_result;                                                                         \
  })

/// Ends the program as skipped: this machine lacks what it needs. Before the checkpoint only.
#define SKIP(...)                                            \
  do {                                                       \
    dprintf(STDERR_FILENO, "skipped: " __VA_ARGS__);         \
    dprintf(STDERR_FILENO, "\n");                            \
    _exit(77);                                               \
  } while (0)

static MAYBE_UNUSED int64_t clock_now_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static MAYBE_UNUSED int64_t monotonic_ms(void) { return clock_now_ns(CLOCK_MONOTONIC) / 1000000; }

/// Sleeps, and goes on sleeping when a signal handler ran.
static MAYBE_UNUSED void sleep_ms(int64_t milliseconds) {
  struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  while (nanosleep(&left, &left) == -1 && errno == EINTR) {
  }
}

static MAYBE_UNUSED sigjmp_buf fault_escape;
static MAYBE_UNUSED void leave_fault(int number) { siglongjmp(fault_escape, number); }

/// Whether reading `address`, or writing back what is there, raises SIGSEGV. Takes the signal's handler.
static MAYBE_UNUSED bool faults(volatile char* address, bool write) {
  signal(SIGSEGV, leave_fault);
  if (sigsetjmp(fault_escape, 1) != 0) return true;
  const char value = *address;
  if (write) *address = value;
  return false;
}

/// First thing in main: takes the scratch directory from the command line.
static MAYBE_UNUSED void begin(int argc, char** argv) {
  if (argc != 2) {
    dprintf(STDERR_FILENO, "usage: %s SCRATCH-DIRECTORY\n", argv[0]);
    exit(2);
  }
  snprintf(scratch_directory, sizeof scratch_directory, "%s", argv[1]);
}

/// The path of `name` in the scratch directory; lives as long as the program.
static MAYBE_UNUSED char* scratch_path(const char* name) {
  char* path = NULL;
  if (asprintf(&path, "%s/%s", scratch_directory, name) < 0) abort();
  return path;
}

/// The runner may take its checkpoint from now on. Round 0 is that of checkpoint_here().
static MAYBE_UNUSED void announce_ready(int round) {
  char path[600], draft[600];
  snprintf(path, sizeof path, round == 0 ? "%s/ready" : "%s/ready.%d", scratch_directory, round);
  snprintf(draft, sizeof draft, "%s/draft", scratch_directory);
  const int fd = open(draft, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
  CHECK(fd >= 0, "cannot create %s", draft);
  close(fd);
  /* Under its name only once it is closed: the runner removes it, and a checkpoint must not find it open. */
  CHECK(rename(draft, path) == 0, "cannot create %s", path);
}

/// True once the runner has restored the program (or, alone, lets it go on).
static MAYBE_UNUSED bool is_released(int round) {
  char path[600];
  snprintf(path, sizeof path, round == 0 ? "%s/go" : "%s/go.%d", scratch_directory, round);
  return access(path, F_OK) == 0;
}

/// Sleeps until is_released(round); for processes and threads other than the one that announces.
static MAYBE_UNUSED void wait_released(int round) {
  while (!is_released(round)) sleep_ms(5);
}

/// The checkpoint, kill and restore happen in here, while the caller sleeps. Rounds count from 1.
static MAYBE_UNUSED void checkpoint_round(int round) {
  announce_ready(round);
  wait_released(round);
}

/// The one checkpoint of most programs; the caller sleeps. Other threads and processes do whatever they were set to do.
static MAYBE_UNUSED void checkpoint_here(void) { checkpoint_round(0); }

/// The same with the caller calling step(argument) over and over; it looks for the release once a millisecond only.
static MAYBE_UNUSED void checkpoint_while(void (*step)(void*), void* argument) {
  announce_ready(0);
  for (int64_t looked = monotonic_ms();;) {
    step(argument);
    const int64_t now = monotonic_ms();
    if (now == looked) continue;
    looked = now;
    if (is_released(0)) return;
  }
}

static MAYBE_UNUSED void do_nothing(void* argument) { (void)argument; }

/// The same with the caller running in user mode nearly all the time.
static MAYBE_UNUSED void checkpoint_here_busy(void) { checkpoint_while(do_nothing, NULL); }

/// Tells another process or thread of the program that `name` has been reached, by nothing that the kernel would have to keep.
static MAYBE_UNUSED void mark(const char* name) {
  char path[600];
  snprintf(path, sizeof path, "%s/mark.%s", scratch_directory, name);
  const int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
  CHECK(fd >= 0, "cannot create %s", path);
  close(fd);
}

static MAYBE_UNUSED void wait_mark(const char* name) {
  char path[600];
  snprintf(path, sizeof path, "%s/mark.%s", scratch_directory, name);
  while (access(path, F_OK) != 0) sleep_ms(2);
}

/// Reads a small file of /proc or the scratch directory whole; NULL when it cannot be opened. The caller frees it.
static MAYBE_UNUSED char* read_text(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  size_t size = 0, capacity = 1 << 16;
  char* text = malloc(capacity);
  for (ssize_t got; (got = read(fd, text + size, capacity - size - 1)) > 0;) {
    size += got;
    if (capacity - size < 4096) text = realloc(text, capacity *= 2);
  }
  text[size] = '\0';
  close(fd);
  return text;
}

/// The value of "field:" in /proc/PID/status, without leading blanks; the caller frees it.
static MAYBE_UNUSED char* status_field(pid_t pid, const char* field) {
  char path[64], key[64];
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  snprintf(key, sizeof key, "\n%s:", field);
  char* text = read_text(path);
  CHECK(text != NULL, "no %s", path);
  char* found = strstr(text, key);
  CHECK(found != NULL, "no field %s in %s", field, path);
  found += strlen(key);
  found += strspn(found, " \t");
  char* value = strndup(found, strcspn(found, "\n"));
  free(text);
  return value;
}

/// Starts a thread or ends the program.
static MAYBE_UNUSED pthread_t start_thread(void* (*function)(void*), void* argument) {
  pthread_t thread;
  const int error = pthread_create(&thread, NULL, function, argument);
  CHECK(error == 0, "pthread_create: %s", strerror(error));
  return thread;
}

/// The letter of a thread's state (proc(5)); 0 when it is gone.
static MAYBE_UNUSED char thread_state(pid_t pid, pid_t tid) {
  char path[80];
  snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
  char* text = read_text(path);
  const char* name_end = text == NULL ? NULL : strrchr(text, ')');
  const char state = name_end == NULL || name_end[1] == 0 ? 0 : name_end[2];
  free(text);
  return state;
}

/// Whether a call that was given as `number` may show as `seen`: in the restart that follows an interruption, or going on with the rest of a transfer.
static MAYBE_UNUSED bool may_show_as(long number, long seen) {
  if (seen == number || seen == SYS_restart_syscall) return true;
  const bool transfers = number == SYS_write || number == SYS_writev || number == SYS_sendto || number == SYS_sendmsg || number == SYS_sendfile ||
                         number == SYS_recvmsg;
  return transfers && (seen == SYS_ppoll || seen == SYS_write || seen == SYS_sendto || seen == SYS_recvfrom);
}

/// Waits until thread `tid` of process `pid` sleeps in system call `number` (one of SYS_*).
static MAYBE_UNUSED void wait_asleep_in(pid_t pid, pid_t tid, long number) {
  char path[80];
  snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
  for (int64_t deadline = monotonic_ms() + 20000;;) {
    char* text = read_text(path);
    const long seen = text != NULL && text[0] >= '0' && text[0] <= '9' ? strtol(text, NULL, 10) : -1;
    free(text);
    // A thread that a tracer holds on its way into the call shows its number, too.
    if (may_show_as(number, seen) && thread_state(pid, tid) == 'S') return;
    CHECK(monotonic_ms() < deadline, "thread %d never slept in system call %ld", tid, number);
    sleep_ms(2);
  }
}

/// Waits for a child and checks that it exited with status 0.
static MAYBE_UNUSED void expect_child_passes(pid_t child) {
  int status = 0;
  pid_t waited;
  while ((waited = waitpid(child, &status, 0)) == -1 && errno == EINTR) {
  }
  CHECK_EQUAL(waited, child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d ended with wait status 0x%x", child, status);
}

/// Fills memory with words that tell `seed` and their place.
static MAYBE_UNUSED void fill_pattern(void* memory, size_t size, uint64_t seed) {
  uint64_t* words = memory;
  for (size_t i = 0; i < size / sizeof *words; i++) words[i] = (seed << 40) ^ (i * 0x9e3779b97f4a7c15ull);
}

/// Checks what fill_pattern wrote.
static MAYBE_UNUSED void check_pattern(const char* what, const void* memory, size_t size, uint64_t seed) {
  const uint64_t* words = memory;
  for (size_t i = 0; i < size / sizeof *words; i++) {
    const uint64_t expected = (seed << 40) ^ (i * 0x9e3779b97f4a7c15ull);
    CHECK(words[i] == expected, "%s at byte %zu: 0x%llx, not 0x%llx", what, i * sizeof *words,
          (unsigned long long)words[i], (unsigned long long)expected);
  }
}

static MAYBE_UNUSED void check_zero(const char* what, const void* memory, size_t size) {
  const unsigned char* bytes = memory;
  for (size_t i = 0; i < size; i++) CHECK(bytes[i] == 0, "%s at byte %zu: 0x%x, not 0", what, i, bytes[i]);
}
