// The slice that a thread asked for under a fair policy comes back, that of another thread stays the kernel's.
// covers: scheduling
#include "scheduling.h"

static volatile pid_t other_tid;
static volatile bool done;

static void* other(void* argument) {
  (void)argument;
  other_tid = gettid();
  while (!done) sleep_ms(2);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  enum { kSliceNs = 7100000, kNice = 4 };
  const pthread_t thread = start_thread(other, NULL);
  while (other_tid == 0) sleep_ms(1);
  const uint64_t kernels_own = attributes_of(other_tid).runtime;
  const struct attributes wanted = {.size = sizeof wanted, .nice = kNice, .runtime = kSliceNs};
  MUST(syscall(SYS_sched_setattr, 0, &wanted, 0));
  if (attributes_of(0).runtime != kSliceNs) SKIP("no slices of one's own here");
  checkpoint_here();
  const struct attributes seen = attributes_of(0);
  CHECK_EQUAL(seen.runtime, kSliceNs);
  CHECK_EQUAL(seen.nice, kNice);
  CHECK_EQUAL(attributes_of(other_tid).runtime, kernels_own);
  done = true;
  pthread_join(thread, NULL);
  return 0;
}
