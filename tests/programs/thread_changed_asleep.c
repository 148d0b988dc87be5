// What others change in a thread while it sleeps, and never wakes, is not lost: priority, processors, policy, name, I/O priority, timer slack. A thread
// for each, so that nothing but the change itself can tell of it.
// covers: scheduling
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/resource.h>

#include "check.h"

enum { kNice, kProcessors, kPolicy, kName, kInputOutputPriority, kTimerSlack, kThreads };
enum { kWhoProcess = 1, kBestEffort = 2 << 13 };

static sem_t never;
static volatile pid_t tids[kThreads];

static void* sleep_for_ever(void* number) {
  tids[(long)number] = gettid();
  while (sem_wait(&never) != 0) continue;
  return NULL;
}

static char* path_of(pid_t tid, const char* file) {
  static char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, file);
  return path;
}

static void write_text(const char* path, const char* text) {
  const int file = MUST(open(path, O_WRONLY));
  CHECK_EQUAL(write(file, text, strlen(text)), (ssize_t)strlen(text));
  MUST(close(file));
}

/// Some epochs pass, since this thread runs.
static void run_for(int64_t milliseconds) {
  const int64_t end_ms = monotonic_ms() + milliseconds;
  while (monotonic_ms() < end_ms) sleep_ms(1);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(sem_init(&never, 0, 0));
  for (long number = 0; number < kThreads; ++number) {
    start_thread(sleep_for_ever, (void*)number);
    while (tids[number] == 0) sleep_ms(1);
    wait_asleep_in(getpid(), tids[number], SYS_futex);
  }
  run_for(400);
  char slack[64];
  snprintf(slack, sizeof slack, "/proc/%d/timerslack_ns", tids[kTimerSlack]);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  const struct sched_param none = {0};
  MUST(setpriority(PRIO_PROCESS, (id_t)tids[kNice], 7));
  MUST(sched_setaffinity(tids[kProcessors], sizeof one, &one));
  MUST(sched_setscheduler(tids[kPolicy], SCHED_BATCH, &none));
  write_text(path_of(tids[kName], "comm"), "renamed");
  MUST(syscall(SYS_ioprio_set, kWhoProcess, tids[kInputOutputPriority], kBestEffort | 3));
  write_text(slack, "123000");
  run_for(100);
  checkpoint_here();
  CHECK_EQUAL(getpriority(PRIO_PROCESS, (id_t)tids[kNice]), 7);
  MUST(sched_getaffinity(tids[kProcessors], sizeof one, &one));
  CHECK_EQUAL(CPU_COUNT(&one), 1);
  CHECK_EQUAL(sched_getscheduler(tids[kPolicy]), SCHED_BATCH);
  CHECK(strcmp(read_text(path_of(tids[kName], "comm")), "renamed\n") == 0, "the thread has another name");
  CHECK_EQUAL(syscall(SYS_ioprio_get, kWhoProcess, tids[kInputOutputPriority]), kBestEffort | 3);
  CHECK(strcmp(read_text(slack), "123000\n") == 0, "the thread has another timer slack");
  return 0;
}
