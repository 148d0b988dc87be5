// Each thread comes back with its default timer slack, which its creator's was when it was made, and which PR_SET_TIMERSLACK 0 gives it again:
// also the child of a real-time thread, that has none.
// covers: scheduling
#include <sched.h>
#include <sys/prctl.h>

#include "check.h"

static volatile int born;

struct expected {
  long slack_ns, default_ns;
};

static void check_default(long expected) {
  MUST(prctl(PR_SET_TIMERSLACK, 0ul));
  CHECK_EQUAL(prctl(PR_GET_TIMERSLACK), expected);
}

static void* run(void* argument) {
  const struct expected* expected = argument;
  if (expected->slack_ns != 0) MUST(prctl(PR_SET_TIMERSLACK, expected->slack_ns));
  born++;
  wait_released(0);
  CHECK_EQUAL(prctl(PR_GET_TIMERSLACK), expected->slack_ns);
  check_default(expected->default_ns);
  return NULL;
}

static pthread_t start(struct expected* expected, const pthread_attr_t* attributes) {
  const int before = born;
  pthread_t thread;
  CHECK_EQUAL(pthread_create(&thread, attributes, run, expected), 0);
  while (born == before) sleep_ms(1);
  return thread;
}

/// What a thread that a real-time thread makes an ordinary one has; -1 where the machine lets nobody be a real-time thread.
static long slack_below_real_time(const pthread_attr_t* ordinary, struct expected* expected, pthread_t* thread) {
  const struct sched_param priority = {.sched_priority = 1}, none = {0};
  if (sched_setscheduler(0, SCHED_FIFO, &priority) == -1) return -1;
  expected->default_ns = expected->slack_ns = prctl(PR_GET_TIMERSLACK);
  *thread = start(expected, ordinary);
  MUST(sched_setscheduler(0, SCHED_OTHER, &none));
  return expected->slack_ns;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_attr_t ordinary;
  pthread_attr_init(&ordinary);
  pthread_attr_setinheritsched(&ordinary, PTHREAD_EXPLICIT_SCHED);
  const long own_default = prctl(PR_GET_TIMERSLACK);
  struct expected first = {200000, 111000}, second = {300000, 222000}, third = {0};
  MUST(prctl(PR_SET_TIMERSLACK, first.default_ns));
  const pthread_t one = start(&first, NULL);
  MUST(prctl(PR_SET_TIMERSLACK, second.default_ns));
  const pthread_t two = start(&second, NULL);
  const pid_t child = MUST(fork());
  if (child == 0) {
    mark("born");
    wait_released(0);
    check_default(second.default_ns);
    _exit(0);
  }
  wait_mark("born");
  pthread_t three = 0;
  const bool has_third = slack_below_real_time(&ordinary, &third, &three) >= 0;
  checkpoint_here();
  pthread_join(one, NULL);
  pthread_join(two, NULL);
  if (has_third) pthread_join(three, NULL);
  expect_child_passes(child);
  check_default(own_default);
  return 0;
}
