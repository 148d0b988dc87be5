// Threads: what says whether one has run, and everything it has of its own.
#pragma once

#include "posix/file_wait.bpf.h"
#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// A thread's identity and its traces of activity. Kernel addresses serve as identities only: equal means the same object.
struct ThreadBrief {
  struct RecordHeader header;
  uint32_t host_tid, host_tgid;  ///< as the caller's PID namespace numbers them
  uint32_t tid, tgid;            ///< as the group's PID namespace numbers them
  uint64_t task;
  uint64_t start_boottime_ns;
  uint64_t nvcsw, nivcsw;        ///< voluntary and involuntary context switches
  uint64_t sum_exec_runtime_ns;  ///< CPU time as of the last context switch or tick
  uint64_t mm, files, fs, signal, sighand, nsproxy, credentials;
  uint64_t jobctl;
  uint64_t orig_ax;              ///< syscall entered, or -1
  uint64_t instruction_pointer, stack_pointer, frame_pointer;
  uint64_t pending_signals;      ///< pending for the thread alone
  uint32_t state;                ///< __state: 0 running or runnable, 1 interruptible, ...
  uint32_t exit_state;
  uint32_t exit_code;
  uint32_t flags;                ///< PF_*
  uint32_t ptrace;
  uint32_t on_cpu;               ///< 1 while it executes: its registers and counters in memory are old then
  uint32_t runnable;             ///< 1 while it executes or waits for a CPU: it can be that with the state of a sleeper, on its way into or out of sleep
  uint32_t file_wait;            ///< enum FileWaitKind: in a system call that may sleep until a pipe, socket or terminal is ready
  uint32_t cpu;                  ///< where it runs or ran last
  uint32_t mm_lock_seq;          ///< equal twice: no mapping changed between (odd while one is being changed)
};

/// User registers in the order of the kernel's pt_regs, which is that of <sys/user.h> up to ss.
struct UserRegisters {
  uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

#define kNotClamped (~0u)

enum ThreadLimits {
  kExtendedStateLimit = 16 << 10,  ///< XSAVE areas with AMX take 11 KB
  kCpuMaskWords = 16,              ///< CPUs 0 to 1023
};

/// All that a thread has of its own. Its tail is the XSAVE area as the kernel keeps it: see standard_extended_state().
struct ThreadRecord {
  struct ThreadBrief brief;
  struct UserRegisters registers;
  uint64_t fs_base, gs_base;
  uint16_t fs, gs, ds, es;
  uint32_t pkru;
  uint32_t extended_state_size;       ///< bytes of the tail
  uint64_t extended_features;         ///< components the kernel's area has room for
  uint64_t extended_user_features;    ///< those that user space may see
  uint64_t extended_permission;       ///< arch_prctl(ARCH_GET_XCOMP_PERM), of the process
  uint64_t tls_descriptors[3];
  char comm[16];
  uint64_t blocked;
  uint64_t saved_sigmask;             ///< the mask to come back to when restore_sigmask is set
  uint64_t real_blocked;              ///< the mask to come back to while sigtimedwait(2) lifts some of it; else 0
  uint64_t alternate_stack, alternate_stack_size;
  uint64_t robust_list, compat_robust_list, clear_child_tid, set_child_tid;
  uint64_t rseq_address;
  uint32_t rseq_length, rseq_signature;
  uint64_t atomic_flags;              ///< PFA_*: no_new_privs is bit 0
  uint64_t timer_slack_ns, default_timer_slack_ns;
  uint64_t cpu_time_user_ns, cpu_time_system_ns;
  uint64_t deadline_runtime_ns, deadline_ns, deadline_period_ns;
  uint64_t slice_ns;                  ///< that the thread asked for, 0 without
  uint64_t core_cookie;               ///< 0 where it shares its core with everybody
  uint64_t shadow_stack_features, shadow_stack_locked;  ///< ARCH_SHSTK_*
  uint64_t cpus_allowed[kCpuMaskWords];
  uint64_t restart_function;          ///< restart_block.fn: a kernel function's address
  uint64_t restart_arguments[6];      ///< what follows fn in restart_block
  uint64_t dispatch_selector, dispatch_offset, dispatch_length;  ///< syscall user dispatch
  uint64_t syscall_work;              ///< SYSCALL_WORK_*: bit 0 seccomp, 6 syscall user dispatch
  uint64_t ptrace_message;
  uint64_t semaphore_undo;            ///< the sem_undo_list, 0 without
  uint64_t io_uring, mempolicy, vfork_done, io_context, cpu_affinity_request, io_bitmap;  ///< presence only
  uint64_t real_parent, parent;       ///< task addresses
  uint64_t breakpoints;               ///< thread has hardware breakpoints in use when not 0
  uint64_t kernel_stack, kernel_stack_pointer, kernel_stack_end;  ///< the part in use is between the last two
  struct FileWait file_wait;          ///< when ThreadBrief::file_wait
  uint32_t alternate_stack_flags;
  uint32_t restore_sigmask;
  uint32_t personality;
  uint32_t pdeath_signal, exit_signal;
  uint32_t policy, static_priority, rt_priority, nr_cpus_allowed, reset_on_fork, deadline_flags;
  uint32_t io_priority;
  uint32_t seccomp_mode, seccomp_filter_count;
  uint32_t in_iowait;
  uint32_t cpu_timers_active;         ///< CPU-time timers armed on the thread
  uint32_t thread_status;             ///< TS_*: 2 while in a 32-bit syscall
  uint32_t time_stamp_denied;         ///< PR_SET_TSC
  uint32_t cpuid_denied;              ///< ARCH_SET_CPUID
  uint32_t utilization_min, utilization_max;  ///< that the thread asked for, kNotClamped without
  uint32_t parent_has_executed;       ///< since this process was created with another exit signal than SIGCHLD
};

/// A signal that waits. `info` is the leading 48 bytes of siginfo_t, all that the kernel keeps.
struct PendingSignalRecord {
  struct RecordHeader header;
  uint64_t owner;                     ///< task for a thread's own, signal_struct for the process's
  uint64_t entry;                     ///< identity of the queue's entry
  uint32_t flags;                     ///< bit 0: the entry belongs to a POSIX timer
  uint32_t reserved;
  uint8_t info[48];
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/output.bpf.h"
#include "posix/told_thread.bpf.h"

enum {
  kPendingSignalLimit = 32768,
  kChildSignal = 17,     // SIGCHLD
  kNotImplemented = 38,  // ENOSYS: what a system call's result is as long as it has none
};

/// The number that `pid` has at `level` of the PID namespace tree, 0 where it has none.
static __always_inline uint32_t pid_number(struct pid *pid, uint32_t level) {
  if (!pid || level > pid->level) return 0;
  return (uint32_t)word_at((uint64_t)pid + FIELD_OFFSET(pid, numbers) + level * bpf_core_type_size(struct upid));
}
/// The PID namespace, as an address, that `pid` belongs to at `level`; 0 where there is none.
static __always_inline uint64_t pid_namespace_at(struct pid *pid, uint32_t level) {
  if (!pid || level > pid->level) return 0;
  uint64_t number = (uint64_t)pid + FIELD_OFFSET(pid, numbers) + level * bpf_core_type_size(struct upid);
  return word_at(number + FIELD_OFFSET(upid, ns));
}

/// Level of the caller's own PID namespace.
static __always_inline uint32_t host_level(void) {
  struct task_struct *self = bpf_get_current_task_btf();
  return KERNEL(task_struct, self)->thread_pid->level;
}
static __always_inline uint32_t group_level(struct CollectRequest *request, struct task_struct *task) {
  if (request->filter == kFilterPidNamespace) return KERNEL(pid_namespace, request->namespace_address)->level;
  return task->thread_pid->level;
}

/// The same where no task of the group is at hand: a cgroup's tasks are then numbered as the caller's are.
static __always_inline uint32_t group_level_of_caller(struct CollectRequest *request) {
  if (request->filter == kFilterPidNamespace) return KERNEL(pid_namespace, request->namespace_address)->level;
  return host_level();
}

static __always_inline uint32_t mm_sequence(struct mm_struct *mm) {
  if (!mm) return 0;
  if (bpf_core_field_exists(mm->mm_lock_seq.sequence)) return mm->mm_lock_seq.sequence;
  return (uint32_t)((struct mm_struct___plain_sequence *)mm)->mm_lock_seq;
}

static __always_inline void fill_brief(struct Pass *pass, struct task_struct *task, struct ThreadBrief *brief) {
  struct CollectRequest *request = pass->request;
  struct pid *pid = task->thread_pid, *process = task->signal->pids[1];
  uint32_t host = host_level(), group = group_level(request, task);
  brief->host_tid = pid_number(pid, host);
  brief->host_tgid = pid_number(process, host);
  brief->tid = pid_number(pid, group);
  brief->tgid = pid_number(process, group);
  brief->task = (uint64_t)task;
  brief->start_boottime_ns = task->start_boottime;
  brief->nvcsw = task->nvcsw;
  brief->nivcsw = task->nivcsw;
  brief->sum_exec_runtime_ns = task->se.sum_exec_runtime;
  struct mm_struct *mm = task->mm;
  brief->mm = (uint64_t)mm;
  brief->files = (uint64_t)task->files;
  brief->fs = (uint64_t)task->fs;
  brief->signal = (uint64_t)task->signal;
  brief->sighand = (uint64_t)task->sighand;
  brief->nsproxy = (uint64_t)task->nsproxy;
  brief->credentials = (uint64_t)task->cred;
  brief->jobctl = task->jobctl;
  struct UserRegisters frame = {};
  uint64_t registers = (uint64_t)task->stack + request->registers_offset;
  if (task->stack) bpf_probe_read_kernel(&frame, sizeof(frame), (void *)registers);
  brief->orig_ax = frame.orig_ax;
  brief->instruction_pointer = frame.ip;
  brief->stack_pointer = frame.sp;
  brief->frame_pointer = frame.bp;
  brief->file_wait = kNoFileWait;
  if (frame.ax == (uint64_t)-kNotImplemented) brief->file_wait = file_wait_kind(plain_number(&brief->task), frame.orig_ax, frame.di, frame.dx, frame.r10);
  brief->pending_signals = task->pending.signal.sig[0];
  brief->state = task->__state;
  brief->exit_state = task->exit_state;
  brief->exit_code = task->exit_code;
  brief->flags = task->flags;
  brief->ptrace = task->ptrace;
  brief->on_cpu = task->on_cpu;
  brief->runnable = is_runnable(task);
  brief->cpu = FIELD_OR_ZERO(task, thread_info.cpu);
  brief->mm_lock_seq = mm_sequence(mm);
}

static __always_inline struct fpu *fpu_of(struct task_struct *task) {
  struct thread_struct___fpu_inside *thread = (void *)&task->thread;
  if (bpf_core_field_exists(thread->fpu)) return &thread->fpu;
  return KERNEL(fpu, (uint64_t)task + bpf_core_type_size(struct task_struct));
}

/// Fills in the FPU state; returns the bytes put at `tail`.
static __always_inline uint32_t fill_extended_state(struct task_struct *task, struct ThreadRecord *record, void *tail) {
  struct fpu *fpu = fpu_of(task);
  struct fpstate *fpstate = fpu->fpstate;
  record->extended_features = fpstate->xfeatures;
  record->extended_user_features = fpstate->user_xfeatures;
  record->extended_permission = fpu_of(task->group_leader)->perm.__state_perm;
  uint64_t size = at_most(fpstate->size, kExtendedStateLimit);
  if (bpf_probe_read_kernel(tail, size, &fpstate->regs)) size = 0;
  record->extended_state_size = size;
  return size;
}

static __always_inline void fill_cpu_state(struct task_struct *task, struct ThreadRecord *record, uint64_t registers_offset) {
  if (!task->stack || bpf_probe_read_kernel(&record->registers, sizeof(record->registers), (void *)((uint64_t)task->stack + registers_offset)))
    __builtin_memset(&record->registers, 0, sizeof(record->registers));
  record->fs_base = task->thread.fsbase;
  record->gs_base = task->thread.gsbase;
  record->fs = task->thread.fsindex;
  record->gs = task->thread.gsindex;
  record->ds = task->thread.ds;
  record->es = task->thread.es;
  record->pkru = FIELD_OR_ZERO(task, thread.pkru);
  bpf_probe_read_kernel(record->tls_descriptors, sizeof(record->tls_descriptors), &task->thread.tls_array);
  record->io_bitmap = (uint64_t)FIELD_OR_ZERO(task, thread.io_bitmap);
  record->shadow_stack_features = FIELD_OR_ZERO(task, thread.features);
  record->shadow_stack_locked = FIELD_OR_ZERO(task, thread.features_locked);
  record->breakpoints = ADDRESS(task, thread.ptrace_bps[0]) | ADDRESS(task, thread.ptrace_bps[1]) |
                        ADDRESS(task, thread.ptrace_bps[2]) | ADDRESS(task, thread.ptrace_bps[3]);
  record->kernel_stack = (uint64_t)task->stack;
  record->kernel_stack_pointer = task->thread.sp;
  record->kernel_stack_end = (uint64_t)task->stack + registers_offset;
  __builtin_memset(&record->file_wait, 0, sizeof(record->file_wait));
  struct UserRegisters *registers = &record->registers;
  if (record->brief.file_wait) describe_file_wait(plain_number(&record->brief.task), registers->orig_ax, registers->di, registers->si, &record->file_wait);
  record->thread_status = task->thread_info.status;
}

static __always_inline void fill_signal_state(struct task_struct *task, struct ThreadRecord *record) {
  record->blocked = task->blocked.sig[0];
  record->saved_sigmask = task->saved_sigmask.sig[0];
  record->real_blocked = task->real_blocked.sig[0];
  record->restore_sigmask = BPF_CORE_READ_BITFIELD(task, restore_sigmask);
  record->alternate_stack = task->sas_ss_sp;
  record->alternate_stack_size = task->sas_ss_size;
  record->alternate_stack_flags = task->sas_ss_flags;
  record->pdeath_signal = task->pdeath_signal;
  record->exit_signal = task->exit_signal;
  const bool signals_otherwise = task->exit_signal >= 0 && task->exit_signal != kChildSignal;
  record->parent_has_executed = signals_otherwise && task->parent_exec_id != task->real_parent->self_exec_id;
}

/// `which`: 0 the least, 1 the most.
static __always_inline uint32_t utilization_clamp(struct task_struct *task, uint32_t which) {
  struct task_struct___clamped *clamped = (void *)task;
  if (!bpf_core_field_exists(clamped->uclamp_req)) return kNotClamped;
  struct uclamp_se *clamp = (void *)((uint64_t)task + FIELD_OFFSET(task_struct___clamped, uclamp_req) + which * bpf_core_type_size(struct uclamp_se));
  return BPF_CORE_READ_BITFIELD_PROBED(clamp, user_defined) ? (uint32_t)BPF_CORE_READ_BITFIELD_PROBED(clamp, value) : kNotClamped;
}

static __always_inline void fill_scheduling(struct task_struct *task, struct ThreadRecord *record) {
  record->policy = task->policy;
  record->static_priority = task->static_prio;
  record->rt_priority = task->rt_priority;
  record->nr_cpus_allowed = task->nr_cpus_allowed;
  record->reset_on_fork = BPF_CORE_READ_BITFIELD(task, sched_reset_on_fork);
  record->in_iowait = BPF_CORE_READ_BITFIELD(task, in_iowait);
  record->deadline_flags = task->dl.flags;
  record->deadline_runtime_ns = task->dl.dl_runtime;
  record->deadline_ns = task->dl.dl_deadline;
  record->deadline_period_ns = task->dl.dl_period;
  record->slice_ns = FIELD_OR_ZERO(task, se.custom_slice) ? FIELD_OR_ZERO(task, se.slice) : 0;
  uint32_t size = bpf_core_field_size(task->cpus_mask);
  if (size > sizeof(record->cpus_allowed)) size = sizeof(record->cpus_allowed);
  __builtin_memset(record->cpus_allowed, 0, sizeof(record->cpus_allowed));
  bpf_probe_read_kernel(record->cpus_allowed, size, &task->cpus_mask);
  record->utilization_min = utilization_clamp(task, 0);
  record->utilization_max = utilization_clamp(task, 1);
  record->core_cookie = FIELD_OR_ZERO(task, core_cookie);
  record->cpu_affinity_request = (uint64_t)FIELD_OR_ZERO(task, user_cpus_ptr);
  struct io_context *io = FIELD_OR_ZERO(task, io_context);
  record->io_context = (uint64_t)io;
  record->io_priority = io ? io->ioprio : 0;
  record->timer_slack_ns = task->timer_slack_ns;
  record->default_timer_slack_ns = task->default_timer_slack_ns;
  record->cpu_time_user_ns = task->utime;
  record->cpu_time_system_ns = task->stime;
  record->cpu_timers_active = FIELD_OR_ZERO(task, posix_cputimers.timers_active);
}

static __always_inline void fill_attributes(struct task_struct *task, struct ThreadRecord *record) {
  bpf_probe_read_kernel(record->comm, sizeof(record->comm), &task->comm);
  record->robust_list = (uint64_t)FIELD_OR_ZERO(task, robust_list);
  record->compat_robust_list = (uint64_t)FIELD_OR_ZERO(task, compat_robust_list);
  record->clear_child_tid = (uint64_t)task->clear_child_tid;
  record->set_child_tid = (uint64_t)task->set_child_tid;
  record->rseq_address = (uint64_t)FIELD_OR_ZERO(task, rseq);
  record->rseq_length = FIELD_OR_ZERO(task, rseq_len);
  record->rseq_signature = FIELD_OR_ZERO(task, rseq_sig);
  record->atomic_flags = task->atomic_flags;
  record->personality = task->personality;
  record->restart_function = (uint64_t)task->restart_block.fn;
  bpf_probe_read_kernel(record->restart_arguments, sizeof(record->restart_arguments), (void *)((uint64_t)&task->restart_block + 16));
  record->dispatch_selector = (uint64_t)FIELD_OR_ZERO(task, syscall_dispatch.selector);
  record->dispatch_offset = FIELD_OR_ZERO(task, syscall_dispatch.offset);
  record->dispatch_length = FIELD_OR_ZERO(task, syscall_dispatch.len);
  record->syscall_work = FIELD_OR_ZERO(task, thread_info.syscall_work);
  record->ptrace_message = task->ptrace_message;
  record->semaphore_undo = (uint64_t)FIELD_OR_ZERO(task, sysvsem.undo_list);
  record->io_uring = (uint64_t)FIELD_OR_ZERO(task, io_uring);
  record->mempolicy = (uint64_t)FIELD_OR_ZERO(task, mempolicy);
  record->vfork_done = (uint64_t)task->vfork_done;
  record->real_parent = (uint64_t)task->real_parent;
  record->parent = (uint64_t)task->parent;
  record->seccomp_mode = FIELD_OR_ZERO(task, seccomp.mode);
  record->seccomp_filter_count = FIELD_OR_ZERO(task, seccomp.filter_count.counter);
}

static __always_inline void fill_denials(struct CollectRequest *request, struct task_struct *task, struct ThreadRecord *record) {
  uint64_t flags = task->thread_info.flags;
  record->time_stamp_denied = (flags & request->time_stamp_denied_flag) != 0;
  record->cpuid_denied = (flags & request->cpuid_denied_flag) != 0;
}

/// The signals queued on one list, of which request->next have been told. False when the output is full.
static __always_inline bool put_pending_signals(struct Pass *pass, struct sigpending *pending, uint64_t owner) {
  uint64_t at = (uint64_t)pending->list.next, skip = pass->request->next;
  REPEAT(kPendingSignalLimit) {
    if (at == (uint64_t)&pending->list || !at) return true;
    struct sigqueue *entry = KERNEL(sigqueue, at);
    at = (uint64_t)entry->list.next;
    if (skip) {
      skip--;
      continue;
    }
    struct PendingSignalRecord *record = begin_record(pass, sizeof(*record), 0);
    if (!record) return false;
    record->owner = owner;
    record->entry = (uint64_t)entry;
    record->flags = entry->flags;
    record->reserved = 0;
    bpf_probe_read_kernel(record->info, sizeof(record->info), &entry->info);
    finish_record(pass, &record->header, kPendingSignalRecord, sizeof(*record));
    pass->request->next++;
  }
  pass->request->status = kPassTooManySignals;
  return false;
}

/// Of what others can change in a thread that sleeps, and put_thread() tells. (Global, so that the verifier looks at it once.)
__noinline uint64_t thread_signature(uint64_t task_address, uint64_t flags) {
  struct task_struct *task = KERNEL(task_struct, task_address);
  uint64_t sum = state_signature(task);
  sum = mix(sum, ADDRESS(task, real_cred));
  sum = mix(sum, ADDRESS(task, real_parent));
  sum = mix(sum, ADDRESS(task, parent));
  bool signals_otherwise = task->exit_signal >= 0 && task->exit_signal != kChildSignal;
  sum = mix(sum, (uint32_t)task->exit_signal | (uint64_t)(signals_otherwise && task->parent_exec_id != task->real_parent->self_exec_id) << 32);
  sum = mix(sum, task->pdeath_signal);
  sum = mix(sum, task->atomic_flags);
  sum = mix(sum, task->policy | (uint64_t)task->static_prio << 32);
  sum = mix(sum, task->rt_priority | (uint64_t)task->nr_cpus_allowed << 32);
  uint32_t words = bpf_core_field_size(task->cpus_mask) / sizeof(uint64_t);
  for (uint32_t word = 0; word < kCpuMaskWords; word++) {
    if (word < words) sum = mix(sum, word_at((uint64_t)&task->cpus_mask + word * sizeof(uint64_t)));
  }
  sum = mix(sum, BPF_CORE_READ_BITFIELD(task, sched_reset_on_fork) | (uint64_t)task->dl.flags << 32);
  sum = mix(sum, task->dl.dl_runtime);
  sum = mix(sum, task->dl.dl_deadline);
  sum = mix(sum, task->dl.dl_period);
  sum = mix(sum, FIELD_OR_ZERO(task, se.custom_slice) ? FIELD_OR_ZERO(task, se.slice) : 0);
  sum = mix(sum, utilization_clamp(task, 0) | (uint64_t)utilization_clamp(task, 1) << 32);
  sum = mix(sum, FIELD_OR_ZERO(task, core_cookie));
  sum = mix(sum, ADDRESS_OR_ZERO(task, user_cpus_ptr));
  uint64_t io = ADDRESS_OR_ZERO(task, io_context);
  sum = mix(sum, io);
  if (io) sum = mix(sum, KERNEL(io_context, io)->ioprio);
  sum = mix(sum, task->timer_slack_ns);
  sum = mix(sum, task->default_timer_slack_ns);
  sum = mix(sum, FIELD_OR_ZERO(task, posix_cputimers.timers_active));
  sum = mix(sum, word_at((uint64_t)&task->comm));
  sum = mix(sum, word_at((uint64_t)&task->comm + sizeof(uint64_t)));
  sum = mix(sum, FIELD_OR_ZERO(task, seccomp.mode) | (uint64_t)FIELD_OR_ZERO(task, seccomp.filter_count.counter) << 32);
  sum = mix(sum, FIELD_OR_ZERO(task, thread_info.syscall_work));
  sum = mix(sum, task->thread_info.flags & flags);
  sum = mix(sum, ADDRESS_OR_ZERO(task, mempolicy));
  sum = mix(sum, ADDRESS(task, vfork_done));
  return mix(sum, fpu_of(task->group_leader)->perm.__state_perm);
}

static __always_inline int put_same_thread(struct Pass *pass, struct SameThreadRecord *record, uint64_t task_address) {
  record->task = task_address;
  finish_record(pass, &record->header, kSameThreadRecord, sizeof(*record));
  return 1;
}

/// A thread without its pending signals; false when the output is full.
static __noinline int put_thread(struct Pass *pass, uint64_t task_address) {
  struct task_struct *task = KERNEL(task_struct, task_address);
  struct ThreadRecord *record = begin_record(pass, sizeof(*record), kExtendedStateLimit);
  if (!record) return 0;
  struct CollectRequest *request = pass->request;
  uint64_t signature = thread_signature(task_address, request->time_stamp_denied_flag | request->cpuid_denied_flag);
  if (is_as_told(kToldWhole, request->memory, task_address, signature)) {
    return put_same_thread(pass, (struct SameThreadRecord *)record, task_address);
  }
  fill_brief(pass, task, &record->brief);
  // How far a transfer has come changes while its thread sleeps.
  if (record->brief.file_wait) forget_told(kToldWhole, task);
  fill_cpu_state(task, record, pass->request->registers_offset);
  fill_signal_state(task, record);
  fill_scheduling(task, record);
  fill_attributes(task, record);
  fill_denials(pass->request, task, record);
  uint32_t tail = fill_extended_state(task, record, record + 1);
  finish_record(pass, &record->brief.header, kThreadRecord, sizeof(*record) + tail);
  return 1;
}
#endif
