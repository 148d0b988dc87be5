// The kernel's structures as far as the collector reads them: here those of tasks, and by way of this file all others. CO-RE relocates every
// access against the running kernel's BTF, so only names and kinds matter, and a generated vmlinux.h of one machine is not needed.
// `name___flavour` is another version of `name`.
#pragma once

#include "posix/kernel_base.bpf.h"
#include "posix/kernel_file.bpf.h"
#include "posix/kernel_memory.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct key;
struct group_info {
  int ngroups;
  kgid_t gid[1];
};
typedef struct {
  uint64_t val;
} kernel_cap_t;
struct cred {
  kuid_t uid;
  kgid_t gid;
  kuid_t suid;
  kgid_t sgid;
  kuid_t euid;
  kgid_t egid;
  kuid_t fsuid;
  kgid_t fsgid;
  unsigned int securebits;
  kernel_cap_t cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
  void *security;
  struct key *session_keyring, *process_keyring, *thread_keyring, *request_key_auth;
  struct user_namespace *user_ns;
  struct group_info *group_info;
};

struct sigaction {
  unsigned long sa_flags;
};
struct k_sigaction {
  struct sigaction sa;
};
struct sighand_struct {
  refcount_t count;
  struct k_sigaction action[64];
};
struct kernel_siginfo {
  int si_signo;
};
typedef struct kernel_siginfo kernel_siginfo_t;
struct sigqueue {
  struct list_head list;
  int flags;
  kernel_siginfo_t info;
};
struct sigpending {
  struct list_head list;
  sigset_t signal;
};
struct cpu_itimer {
  uint64_t expires, incr;
};
struct task_cputime_atomic {
  atomic64_t utime, stime, sum_exec_runtime;
};
struct thread_group_cputimer {
  struct task_cputime_atomic cputime_atomic;
};
struct posix_cputimers {
  unsigned int timers_active;
};
struct tty_driver {
  int major, minor_start;
};
struct tty_struct {
  int index;
  struct tty_driver *driver;
  struct tty_struct *link;
  int count;
};
struct rlimit {
  unsigned long rlim_cur, rlim_max;
};
struct autogroup {
  int nice;
};
struct signal_struct {
  atomic_t live;
  int nr_threads;
  struct sigpending shared_pending;
  int group_exit_code;
  int group_stop_count;
  unsigned int flags;
  unsigned int is_child_subreaper : 1;
  unsigned int has_child_subreaper : 1;
  atomic_t next_posix_timer_id;
  struct hlist_head posix_timers;
  struct hrtimer real_timer;
  int64_t it_real_incr;
  struct cpu_itimer it[2];
  struct thread_group_cputimer cputimer;
  struct posix_cputimers posix_cputimers;
  struct pid *pids[4];
  struct pid *tty_old_pgrp;
  int leader;
  struct tty_struct *tty;
  struct autogroup *autogroup;
  uint64_t utime, stime, cutime, cstime;
  unsigned long min_flt, maj_flt;
  struct rlimit rlim[16];
  short oom_score_adj, oom_score_adj_min;
};
struct signal_struct___list {
  struct list_head posix_timers;
};

struct thread_info {
  unsigned long flags;
  unsigned long syscall_work;
  uint32_t status;
  uint32_t cpu;
};
struct sched_entity {
  uint64_t sum_exec_runtime, slice;
  unsigned char sched_delayed, custom_slice;
};
struct sched_dl_entity {
  uint64_t dl_runtime, dl_deadline, dl_period;
  unsigned int flags;
};
struct restart_block {
  unsigned long arch_data;
  long (*fn)(struct restart_block *);
};
struct seccomp_filter;
struct seccomp {
  int mode;
  atomic_t filter_count;
};
struct syscall_user_dispatch {
  char *selector;
  unsigned long offset, len;
  bool on_dispatch;
};
struct io_context {
  unsigned short ioprio;
};
struct sem_undo_list;
struct sysv_sem {
  struct sem_undo_list *undo_list;
};
struct xstate_header {
  uint64_t xfeatures, xcomp_bv;
};
struct xregs_state {
  struct xstate_header header;
};
union fpregs_state {
  struct xregs_state xsave;
};
struct fpstate {
  unsigned int size, user_size;
  uint64_t xfeatures, user_xfeatures;
  union fpregs_state regs;
};
struct fpu_state_perm {
  uint64_t __state_perm;
};
struct fpu {
  struct fpstate *fpstate;
  struct fpu_state_perm perm;
};
struct desc_struct {
  uint16_t limit0;
};
struct thread_struct {
  unsigned short es, ds, fsindex, gsindex;
  unsigned long sp, fsbase, gsbase;
  struct perf_event *ptrace_bps[4];
  void *io_bitmap;
  unsigned long features, features_locked;
  uint32_t pkru;
  struct desc_struct tls_array[3];
};
/// Up to 6.15 the FPU state was part of the thread.
struct thread_struct___fpu_inside {
  struct fpu fpu;
};
struct cpumask {
  unsigned long bits[1];
};
struct mempolicy;
struct completion;
struct io_uring_task;
struct robust_list_head;
struct compat_robust_list_head;
struct rseq;
struct task_struct {
  struct thread_info thread_info;
  unsigned int __state;
  void *stack;
  unsigned int flags, ptrace;
  int on_cpu, on_rq, recent_used_cpu;
  int static_prio;
  unsigned int rt_priority;
  struct sched_entity se;
  struct sched_dl_entity dl;
  unsigned int policy;
  int nr_cpus_allowed;
  struct cpumask cpus_mask;
  struct cpumask *user_cpus_ptr;
  unsigned int sched_reset_on_fork : 1;
  unsigned int in_iowait : 1;
  unsigned int restore_sigmask : 1;
  struct mm_struct *mm;
  int exit_state, exit_code, exit_signal, pdeath_signal;
  uint64_t parent_exec_id, self_exec_id;
  unsigned long core_cookie;
  unsigned long jobctl;
  unsigned int personality;
  unsigned long atomic_flags;
  struct restart_block restart_block;
  int pid, tgid;
  struct task_struct *real_parent, *parent, *group_leader;
  struct pid *thread_pid;
  struct hlist_node pid_links[4];
  struct completion *vfork_done;
  int *set_child_tid, *clear_child_tid;
  uint64_t utime, stime;
  unsigned long nvcsw, nivcsw;
  uint64_t start_time, start_boottime;
  const struct cred *real_cred, *cred;
  char comm[16];
  struct sysv_sem sysvsem;
  struct fs_struct *fs;
  struct files_struct *files;
  struct io_uring_task *io_uring;
  struct nsproxy *nsproxy;
  struct signal_struct *signal;
  struct sighand_struct *sighand;
  sigset_t blocked, real_blocked, saved_sigmask;
  struct sigpending pending;
  unsigned long sas_ss_sp;
  size_t sas_ss_size;
  unsigned int sas_ss_flags;
  struct seccomp seccomp;
  struct syscall_user_dispatch syscall_dispatch;
  struct io_context *io_context;
  struct css_set *cgroups;
  struct robust_list_head *robust_list;
  struct compat_robust_list_head *compat_robust_list;
  struct mempolicy *mempolicy;
  struct rseq *rseq;
  uint32_t rseq_len, rseq_sig;
  unsigned long ptrace_message;
  uint64_t timer_slack_ns, default_timer_slack_ns;
  struct posix_cputimers posix_cputimers;
  struct thread_struct thread;
};
struct uclamp_se {
  unsigned int value : 11;
  unsigned int user_defined : 1;
};
/// Where the kernel was built with clamps of utilisation.
struct task_struct___clamped {
  struct uclamp_se uclamp_req[2];
};

#pragma clang attribute pop
