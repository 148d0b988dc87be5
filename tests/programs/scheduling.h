// What sched_setattr(2) takes and sched_getattr(2) gives.
#pragma once

#include "check.h"

struct attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t clamp_least, clamp_most;
};

static MAYBE_UNUSED struct attributes attributes_of(pid_t tid) {
  struct attributes seen = {0};
  MUST(syscall(SYS_sched_getattr, tid, &seen, sizeof seen, 0));
  return seen;
}
