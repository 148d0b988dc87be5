// What was told of each thread in an earlier pass: one that has not run since, and that nobody has changed, need not be told again. Kernel side only.
#pragma once

#include "posix/output.bpf.h"

#define kMixFactor 0x9E3779B97F4A7C15ull
enum { kToldSlots = 1 << 14 };

/// How a thread was when it was last told in full.
struct ToldThread {
  uint64_t memory;  ///< CollectRequest::memory
  uint64_t task, start_boottime_ns, nvcsw, nivcsw;
  uint64_t signature;  ///< of what can change while it sleeps
};
/// Who tells: what read_tasks told, and what read_tasks_brief told.
enum Teller { kToldWhole, kToldBriefly, kTellers };

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, kTellers * kToldSlots);
  __type(key, uint32_t);
  __type(value, struct ToldThread);
} told_threads SEC(".maps");

static __always_inline uint64_t mix(uint64_t sum, uint64_t value) { return (sum ^ value) * kMixFactor; }

static __always_inline bool is_runnable(struct task_struct *task) {
  // Since Linux 6.12 a sleeper may stay on the run queue for a while, marked as delayed.
  return task->on_cpu || (task->on_rq && !FIELD_OR_ZERO(task, se.sched_delayed));
}

static __always_inline struct ToldThread *told_slot(uint32_t teller, struct task_struct *task) {
  uint32_t slot = teller * kToldSlots + (uint32_t)task->pid % kToldSlots;
  return bpf_map_lookup_elem(&told_threads, &slot);
}

/// Whether a thread is as it was told before. If not, what it is now is remembered: to be called before anything else of it is read, so that a thread
/// that runs, or is changed, meanwhile differs from what is remembered of it. (Global, so that the verifier looks at it once.)
__noinline int is_as_told(uint32_t teller, uint64_t memory, uint64_t task_address, uint64_t signature) {
  struct task_struct *task = KERNEL(task_struct, task_address);
  struct ToldThread *last = told_slot(teller < kTellers ? teller : 0, task);
  if (!last) return 0;
  struct ToldThread now = {memory, task_address, task->start_boottime, task->nvcsw, task->nivcsw, signature};
  uint64_t difference = (last->memory ^ now.memory) | (last->task ^ now.task) | (last->start_boottime_ns ^ now.start_boottime_ns) |
                        (last->nvcsw ^ now.nvcsw) | (last->nivcsw ^ now.nivcsw) | (last->signature ^ now.signature);
  bool runs = is_runnable(task);
  if (!difference && !runs) return 1;
  if (runs) now.task = 0;
  *last = now;
  return 0;
}

static __always_inline void forget_told(uint32_t teller, struct task_struct *task) {
  struct ToldThread *last = told_slot(teller, task);
  if (last) last->task = 0;
}

/// Of what others can change in a thread that sleeps.
static __always_inline uint64_t state_signature(struct task_struct *task) {
  uint64_t sum = mix(task->__state, task->exit_state | (uint64_t)task->flags << 32);
  sum = mix(sum, task->ptrace | (uint64_t)(uint32_t)task->exit_code << 32);
  sum = mix(sum, task->jobctl);
  sum = mix(sum, task->pending.signal.sig[0]);
  sum = mix(sum, ADDRESS(task, cred));
  return mix(sum, ADDRESS(task, mm));
}
