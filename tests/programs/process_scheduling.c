// Nice value, scheduling policy and priority, reset-on-fork and CPU affinity come back, in each thread its own.
// covers: scheduling
#include <sched.h>
#include <sys/resource.h>

#include "check.h"

static volatile pid_t tid;
static volatile int done;

static void* real_time(void* argument) {
  (void)argument;
  const struct sched_param parameter = {.sched_priority = 3};
  const int policy = SCHED_RR | SCHED_RESET_ON_FORK;
  const bool permitted = sched_setscheduler(0, policy, &parameter) == 0;
  tid = gettid();
  while (!done) sleep_ms(2);
  if (permitted) {
    struct sched_param seen;
    CHECK_EQUAL(sched_getscheduler(0), policy);
    MUST(sched_getparam(0, &seen));
    CHECK_EQUAL(seen.sched_priority, 3);
  }
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t other = start_thread(real_time, NULL);
  while (tid == 0) sleep_ms(1);
  const struct sched_param parameter = {.sched_priority = 0};
  MUST(sched_setscheduler(0, SCHED_BATCH, &parameter));
  MUST(setpriority(PRIO_PROCESS, 0, 11));
  cpu_set_t available, wanted, seen;
  MUST(sched_getaffinity(0, sizeof available, &available));
  CPU_ZERO(&wanted);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&wanted) == 0; cpu++)
    if (CPU_ISSET(cpu, &available)) CPU_SET(cpu, &wanted);
  MUST(sched_setaffinity(0, sizeof wanted, &wanted));
  checkpoint_here();
  CHECK_EQUAL(sched_getscheduler(0), SCHED_BATCH);
  CHECK_EQUAL(getpriority(PRIO_PROCESS, 0), 11);
  MUST(sched_getaffinity(0, sizeof seen, &seen));
  CHECK(CPU_EQUAL(&seen, &wanted), "affinity has %d CPUs", CPU_COUNT(&seen));
  MUST(sched_getaffinity(tid, sizeof seen, &seen));
  CHECK(CPU_EQUAL(&seen, &available), "the other thread's affinity has %d CPUs", CPU_COUNT(&seen));
  done = 1;
  pthread_join(other, NULL);
  return 0;
}
