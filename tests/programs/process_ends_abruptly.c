// Processes whose threads are killed, exit or execute another program at any instant of a checkpoint: their parent always learns of their end.
// timeout: 90
#include "check.h"

enum { processes = 12, threads = 4, run_ms = 6000, patience_ms = 20000 };

static volatile unsigned long work;

static void* stay_busy(void* argument) {
  const bool sleeps = argument != NULL;
  for (;;) {
    for (int i = 0; i < 2000; i++) work++;
    if (sleeps) usleep(150);
  }
  return NULL;
}

static void* end_process(void* argument) {
  const unsigned choice = (unsigned)(uintptr_t)argument;
  usleep(choice / 8 % 3000);
  if (choice % 4 == 0) execl("/proc/self/exe", "ends", "execute", NULL);
  if (choice % 4 == 1) _exit(0);
  if (choice % 4 == 2) return NULL;
  for (;;) pause();
}

/// The first thread may exit before the others; the last of them then ends the process.
static _Noreturn void be_child(unsigned choice) {
  for (int i = 0; i < threads; i++) start_thread(stay_busy, i % 2 ? (void*)1 : NULL);
  start_thread(end_process, (void*)(uintptr_t)choice);
  if (choice / 4 % 2) pthread_exit(NULL);
  stay_busy((void*)1);
  _exit(9);
}

struct child {
  int pid;
  int64_t since_ms;
};

static void start_child(struct child* child, unsigned choice) {
  *child = (struct child){MUST(fork()), monotonic_ms()};
  if (child->pid == 0) be_child(choice);
}

/// Kills those that had their time, and waits for whoever ended.
static void look_after(struct child* child) {
  if (child->pid == 0) return;
  if (monotonic_ms() - child->since_ms > 3 + child->pid % 5) kill(child->pid, SIGKILL);
  const int ended = waitpid(child->pid, NULL, WNOHANG);
  if (ended == child->pid) child->pid = 0;
  CHECK(monotonic_ms() - child->since_ms < patience_ms, "process %d has not ended %d s after it was killed", child->pid, patience_ms / 1000);
}

static void churn(void) {
  struct child children[processes] = {0};
  unsigned seed = 1;
  for (int64_t end = monotonic_ms() + run_ms;;) {
    bool alive = false;
    for (int i = 0; i < processes; i++) {
      if (children[i].pid == 0 && monotonic_ms() < end) start_child(&children[i], (unsigned)rand_r(&seed));
      look_after(&children[i]);
      alive |= children[i].pid != 0;
    }
    if (!alive) return;
    usleep(300);
  }
}

int main(int argc, char** argv) {
  if (argc == 2 && !strcmp(argv[1], "execute")) stay_busy((void*)1);
  begin(argc, argv);
  churn();
  checkpoint_here();
  churn();
  return 0;
}
