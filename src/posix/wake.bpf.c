// Tells when a task of a resting group wakes: attached only while the group rests.
#include "posix/cgroup.bpf.h"
#include "posix/kernel.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum { kWakeRingBytes = 4096, BPF_MAP_TYPE_RINGBUF_NUMBER = 27 };

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF_NUMBER);
  __uint(max_entries, kWakeRingBytes);
} wakes SEC(".maps");

/// Set by the supervisor: the inode number of the group's PID namespace; 0: the id of its cgroup, and how deep that lies.
uint32_t watched_namespace = 0;
uint64_t watched_cgroup = 0;
uint32_t watched_cgroup_level = 0;
/// Set when watching begins, cleared by the first wake: one is enough.
uint32_t armed = 0;

static __always_inline bool in_watched_namespace(struct task_struct *task) {
  struct pid *pid = task->thread_pid;
  if (!pid) return false;
  uint64_t last = (uint64_t)pid + FIELD_OFFSET(pid, numbers) + pid->level * bpf_core_type_size(struct upid);
  uint64_t namespace = 0;
  bpf_probe_read_kernel(&namespace, sizeof(namespace), (void *)(last + FIELD_OFFSET(upid, ns)));
  return namespace && KERNEL(pid_namespace, namespace)->ns.inum == watched_namespace;
}

static __always_inline bool is_watched(struct task_struct *task) {
  return watched_namespace ? in_watched_namespace(task) : in_cgroup(task, watched_cgroup, watched_cgroup_level);
}

static __always_inline int note_wake(uint64_t *context) {
  if (!armed || !is_watched(KERNEL(task_struct, context[0]))) return 0;
  armed = 0;
  uint64_t one = 1;
  bpf_ringbuf_output(&wakes, &one, sizeof(one), 0);
  return 0;
}

SEC("raw_tp/sched_waking")
int on_waking(uint64_t *context) { return note_wake(context); }

SEC("raw_tp/sched_wakeup_new")
int on_wakeup_new(uint64_t *context) { return note_wake(context); }
