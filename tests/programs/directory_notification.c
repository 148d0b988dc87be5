// Directories whose changes are told by signals (F_NOTIFY) are watched after the restore too: for what, how often, by which descriptor
// table, and whom the signals go to.
// covers: inotify
#include "check.h"

#include <sched.h>
#include <stdatomic.h>

static sigset_t set;
static const char* path;
static atomic_bool thread_ready;

static int opened(int signal_number) {
  const int fd = MUST(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  MUST(fcntl(fd, F_SETSIG, signal_number));
  return fd;
}

static void expect(int signal_number, int fd) {
  const struct timespec limit = {10, 0};
  siginfo_t information;
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal_number);
  CHECK_EQUAL(sigtimedwait(&one, &information, &limit), signal_number);
  CHECK_EQUAL(information.si_fd, fd);
}

/// Signals are sent within the system call that is the change.
static void expect_nothing_after(const char* what) {
  const struct timespec at_once = {0, 0};
  siginfo_t information;
  const int number = sigtimedwait(&set, &information, &at_once);
  CHECK(number == -1, "SIGRTMIN+%d for descriptor %d after %s", number - SIGRTMIN, information.si_fd, what);
}

static void create(const char* name) { MUST(close(MUST(open(scratch_path(name), O_CREAT | O_EXCL | O_RDWR, 0600)))); }

/// Watches by a descriptor table of its own.
static void* run_unshared(void* argument) {
  int* const fd = argument;
  MUST(unshare(CLONE_FILES));
  *fd = opened(SIGRTMIN + 4);
  MUST(fcntl(*fd, F_NOTIFY, DN_ATTRIB | DN_MULTISHOT));
  thread_ready = true;
  wait_released(0);
  while (thread_ready) sleep_ms(1);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  sigemptyset(&set);
  for (int i = 0; i < 8; i++) sigaddset(&set, SIGRTMIN + i);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL));
  path = scratch_path("directory");
  MUST(mkdir(path, 0700));
  create("directory/old");
  int unshared = -1;
  const pthread_t thread = start_thread(run_unshared, &unshared);
  while (!thread_ready) sleep_ms(1);

  const int creations = opened(SIGRTMIN);
  if (fcntl(creations, F_NOTIFY, DN_CREATE | DN_MULTISHOT) == -1) SKIP("no F_NOTIFY here");
  const int rename_once = opened(SIGRTMIN + 1);
  MUST(fcntl(rename_once, F_NOTIFY, DN_RENAME));
  const int spent = opened(SIGRTMIN + 2);
  MUST(fcntl(spent, F_NOTIFY, DN_MODIFY | DN_ACCESS));
  MUST(fcntl(spent, F_NOTIFY, 0));
  const int for_nobody = opened(SIGRTMIN + 3);
  MUST(fcntl(for_nobody, F_NOTIFY, DN_CREATE | DN_DELETE | DN_MULTISHOT));
  MUST(fcntl(for_nobody, F_SETOWN, 0));
  const int both = opened(SIGRTMIN + 5);
  MUST(fcntl(both, F_NOTIFY, DN_DELETE | DN_MULTISHOT));
  const int duplicate = MUST(fcntl(both, F_DUPFD_CLOEXEC, 70));
  MUST(fcntl(duplicate, F_NOTIFY, DN_MODIFY));
  expect_nothing_after("what preceded the checkpoint");

  checkpoint_here();
  expect_nothing_after("the restore");
  for (int i = 0; i < 2; i++) {
    create(i == 0 ? "directory/first" : "directory/second");
    expect(SIGRTMIN, creations);
    expect_nothing_after("a creation");
  }
  MUST(rename(scratch_path("directory/old"), scratch_path("directory/new")));
  expect(SIGRTMIN + 1, rename_once);
  expect(SIGRTMIN, creations);
  expect(SIGRTMIN + 5, duplicate);
  expect_nothing_after("the first renaming");
  MUST(rename(scratch_path("directory/new"), scratch_path("directory/old")));
  expect(SIGRTMIN, creations);
  expect(SIGRTMIN + 5, duplicate);
  expect_nothing_after("the second renaming");
  MUST(truncate(scratch_path("directory/old"), 10));
  expect(SIGRTMIN + 5, duplicate);
  expect_nothing_after("a truncation");
  MUST(unlink(scratch_path("directory/first")));
  expect(SIGRTMIN + 5, duplicate);
  expect_nothing_after("a removal");
  MUST(chmod(scratch_path("directory/old"), 0640));
  expect(SIGRTMIN + 4, unshared);
  expect_nothing_after("a change of mode");
  CHECK_EQUAL(MUST(fcntl(for_nobody, F_GETOWN)), 0);
  MUST(fcntl(for_nobody, F_SETOWN, getpid()));
  MUST(unlink(scratch_path("directory/second")));
  expect(SIGRTMIN + 3, for_nobody);
  expect(SIGRTMIN + 5, duplicate);
  expect_nothing_after("the last removal");
  thread_ready = false;
  CHECK_EQUAL(pthread_join(thread, NULL), 0);
  return 0;
}
