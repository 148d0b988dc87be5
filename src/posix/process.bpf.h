// Processes: what the threads of one thread group share in signal_struct and sighand_struct.
#pragma once

#include "posix/task.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// A timer that counts in a clock of its own; all in nanoseconds.
struct TimerReading {
  uint64_t active;
  int64_t remaining_ns;  ///< until it expires; negative when overdue
  uint64_t interval_ns;
};

/// What a process's threads share; keyed by the address of its signal_struct.
struct ProcessRecord {
  struct RecordHeader header;
  uint64_t signal;
  uint64_t leader_task;
  uint32_t tgid, host_tgid;
  uint32_t parent_tgid;               ///< 0 when the parent lies outside the group's PID namespace
  uint32_t parent_host_tgid;
  uint32_t process_group, session;    ///< 0 when they lie outside
  uint32_t process_group_host, session_host;
  uint32_t process_group_has_leader, session_has_leader;
  uint32_t thread_count, live_threads;
  uint32_t group_exit_code, flags;    ///< SIGNAL_*
  uint32_t group_stop_count;
  uint32_t is_child_subreaper, has_child_subreaper;
  uint32_t is_session_leader;
  uint64_t controlling_terminal;      ///< tty_struct, 0 without
  uint32_t terminal_major, terminal_minor_start, terminal_index;
  int32_t oom_score_adj, oom_score_adj_min;
  uint32_t cpu_timers_active;
  uint32_t has_posix_timers;
  uint32_t next_posix_timer_id;
  int32_t autogroup_nice;             ///< of the session
  uint32_t reserved;
  uint64_t resource_limits[16][2];    ///< current and maximum, by RLIMIT_*
  struct TimerReading real_timer;
  uint64_t profile_expires_ns, profile_interval_ns;  ///< in process CPU time (user and system)
  uint64_t virtual_expires_ns, virtual_interval_ns;  ///< in user CPU time
  uint64_t timers_user_ns, timers_system_ns, timers_runtime_ns;  ///< CPU time of the whole process, kept while CPU timers are active
  uint64_t dead_threads_user_ns, dead_threads_system_ns, children_user_ns, children_system_ns;
  uint64_t shared_pending_signals;
};

/// One entry of a signal's disposition, as the kernel's struct sigaction.
struct SignalActionRecord {
  uint64_t handler, flags, restorer, mask;
};
/// The disposition table; keyed by the address of sighand_struct.
struct SignalHandlersRecord {
  struct RecordHeader header;
  uint64_t sighand;
  uint64_t users;
  struct SignalActionRecord actions[64];    ///< of signal number i + 1
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__

enum { kPosixTimerLimit = 1 << 16 };

static __always_inline void fill_timer(struct Pass *pass, struct hrtimer *timer, struct TimerReading *out) {
  out->active = timer->state & 1;
  out->remaining_ns = timer->node.expires - timer->base->offset - (int64_t)pass->request->monotonic_ns;
}

/// The address at which the list of POSIX timers ends: its head, while it was doubly linked (up to 6.13), else 0.
static __always_inline uint64_t posix_timers_end(struct signal_struct *signal) {
  struct signal_struct___list *listed = (void *)signal;
  return bpf_core_field_exists(listed->posix_timers.prev) ? (uint64_t)&listed->posix_timers : 0;
}

static __always_inline bool has_posix_timers(struct signal_struct *signal) {
  uint64_t first = word_at((uint64_t)signal + FIELD_OFFSET(signal_struct, posix_timers));
  return first && first != posix_timers_end(signal);
}

static __always_inline void fill_family(struct Pass *pass, struct task_struct *task, struct ProcessRecord *record) {
  uint32_t host = host_level(), group = group_level(pass->request, task);
  struct signal_struct *signal = task->signal;
  struct pid *process = signal->pids[1], *process_group = signal->pids[2], *session = signal->pids[3];
  struct pid *parent = task->real_parent->signal->pids[1];
  record->tgid = pid_number(process, group);
  record->host_tgid = pid_number(process, host);
  record->parent_tgid = pid_number(parent, group);
  record->parent_host_tgid = pid_number(parent, host);
  bool same_namespace_group = pid_namespace_at(process_group, group) == pid_namespace_at(process, group);
  bool same_namespace_session = pid_namespace_at(session, group) == pid_namespace_at(process, group);
  record->process_group = same_namespace_group ? pid_number(process_group, group) : 0;
  record->session = same_namespace_session ? pid_number(session, group) : 0;
  if (pid_namespace_at(parent, group) != pid_namespace_at(process, group)) record->parent_tgid = 0;
  record->process_group_host = pid_number(process_group, host);
  record->session_host = pid_number(session, host);
  record->process_group_has_leader = process_group->tasks[1].first != NULL;
  record->session_has_leader = session->tasks[1].first != NULL;
}

static __always_inline void fill_process_timers(struct Pass *pass, struct signal_struct *signal, struct ProcessRecord *record) {
  fill_timer(pass, &signal->real_timer, &record->real_timer);
  record->real_timer.interval_ns = signal->it_real_incr;
  record->profile_expires_ns = signal->it[0].expires;
  record->profile_interval_ns = signal->it[0].incr;
  record->virtual_expires_ns = signal->it[1].expires;
  record->virtual_interval_ns = signal->it[1].incr;
  record->timers_user_ns = signal->cputimer.cputime_atomic.utime.counter;
  record->timers_system_ns = signal->cputimer.cputime_atomic.stime.counter;
  record->timers_runtime_ns = signal->cputimer.cputime_atomic.sum_exec_runtime.counter;
  record->cpu_timers_active = FIELD_OR_ZERO(signal, posix_cputimers.timers_active);
  record->has_posix_timers = has_posix_timers(signal);
  record->next_posix_timer_id = FIELD_OR_ZERO(signal, next_posix_timer_id.counter);
}

static __always_inline void fill_process(struct task_struct *task, struct ProcessRecord *record) {
  struct signal_struct *signal = task->signal;
  record->signal = (uint64_t)signal;
  record->leader_task = (uint64_t)task->group_leader;
  record->thread_count = signal->nr_threads;
  record->live_threads = signal->live.counter;
  record->group_exit_code = signal->group_exit_code;
  record->group_stop_count = signal->group_stop_count;
  record->flags = signal->flags;
  record->is_child_subreaper = BPF_CORE_READ_BITFIELD(signal, is_child_subreaper);
  record->has_child_subreaper = BPF_CORE_READ_BITFIELD(signal, has_child_subreaper);
  record->is_session_leader = signal->leader;
  struct tty_struct *terminal = signal->tty;
  record->controlling_terminal = (uint64_t)terminal;
  record->terminal_major = terminal ? terminal->driver->major : 0;
  record->terminal_minor_start = terminal ? terminal->driver->minor_start : 0;
  record->terminal_index = terminal ? terminal->index : 0;
  struct autogroup *autogroup = FIELD_OR_ZERO(signal, autogroup);
  record->autogroup_nice = autogroup ? autogroup->nice : 0;
  record->reserved = 0;
  record->oom_score_adj = signal->oom_score_adj;
  record->oom_score_adj_min = signal->oom_score_adj_min;
  bpf_probe_read_kernel(record->resource_limits, sizeof(record->resource_limits), &signal->rlim);
  record->dead_threads_user_ns = signal->utime;
  record->dead_threads_system_ns = signal->stime;
  record->children_user_ns = signal->cutime;
  record->children_system_ns = signal->cstime;
  record->shared_pending_signals = signal->shared_pending.signal.sig[0];
}

/// The process of a thread, once, without its timers and the signals pending for it. False when the output is full.
static __noinline int put_process(struct Pass *pass, uint64_t task_address) {
  struct task_struct *task = KERNEL(task_struct, task_address);
  uint64_t address = ADDRESS(task, signal);
  if (!address || was_seen(pass, address)) return 1;
  struct signal_struct *signal = KERNEL(signal_struct, address);
  struct ProcessRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return 0;
  fill_process(task, record);
  fill_family(pass, task, record);
  fill_process_timers(pass, signal, record);
  finish_record(pass, &record->header, kProcessRecord, sizeof(*record));
  mark_seen(pass, address);
  return 1;
}

static __noinline int put_signal_handlers(struct Pass *pass, uint64_t task_address) {
  struct task_struct *task = KERNEL(task_struct, task_address);
  uint64_t address = ADDRESS(task, sighand);
  if (!address || was_seen(pass, address)) return 1;
  struct sighand_struct *sighand = KERNEL(sighand_struct, address);
  struct SignalHandlersRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return 0;
  record->sighand = address;
  record->users = sighand->count.refs.counter;
  bpf_probe_read_kernel(record->actions, sizeof(record->actions), &sighand->action);
  finish_record(pass, &record->header, kSignalHandlersRecord, sizeof(*record));
  mark_seen(pass, address);
  return 1;
}
#endif
