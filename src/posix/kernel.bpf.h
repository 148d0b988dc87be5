// The kernel's structures as far as the collector reads them. CO-RE relocates every access against the running kernel's BTF, so only
// names and kinds matter here, and a generated vmlinux.h of one machine is not needed. `name___flavour` is another version of `name`.
#pragma once

#include "posix/kernel_access.bpf.h"
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
  struct list_head *next, *prev;
};
struct hlist_node {
  struct hlist_node *next;
};
struct hlist_head {
  struct hlist_node *first;
};
struct rb_node {
  unsigned long __rb_parent_color;
  struct rb_node *rb_right, *rb_left;
};
struct rb_root {
  struct rb_node *rb_node;
};
struct rb_root_cached {
  struct rb_root rb_root;
  struct rb_node *rb_leftmost;
};
typedef struct {
  int counter;
} atomic_t;
typedef struct {
  int64_t counter;
} atomic64_t;
typedef struct {
  unsigned int val;
} kuid_t;
typedef struct {
  unsigned int val;
} kgid_t;
typedef struct {
  unsigned long sig[1];
} sigset_t;
struct refcount_struct {
  atomic_t refs;
};
typedef struct refcount_struct refcount_t;

struct ns_common {
  unsigned int inum;
};
struct xarray {
  void *xa_head;
};
struct idr {
  struct xarray idr_rt;
};
struct xa_node {
  unsigned char shift;
  void *slots[64];
};
struct user_namespace {
  struct ns_common ns;
};
struct pid_namespace {
  struct idr idr;
  unsigned int level;
  struct ns_common ns;
};
struct upid {
  int nr;
  struct pid_namespace *ns;
};
struct pid {
  unsigned int level;
  struct hlist_head tasks[4];
  struct upid numbers[1];
};
struct uts_namespace {
  struct ns_common ns;
};
struct ipc_namespace {
  struct ns_common ns;
};
struct mnt_namespace {
  struct ns_common ns;
};
struct net {
  struct ns_common ns;
};
struct time_namespace {
  struct ns_common ns;
};
struct cgroup_namespace {
  struct ns_common ns;
};
struct nsproxy {
  struct uts_namespace *uts_ns;
  struct ipc_namespace *ipc_ns;
  struct mnt_namespace *mnt_ns;
  struct pid_namespace *pid_ns_for_children;
  struct net *net_ns;
  struct time_namespace *time_ns;
  struct time_namespace *time_ns_for_children;
  struct cgroup_namespace *cgroup_ns;
};

struct kernfs_node {
  uint64_t id;
};
struct cgroup {
  int level;
  struct kernfs_node *kn;
  struct cgroup *ancestors[1];
};
struct css_set {
  struct cgroup *dfl_cgrp;
};

struct hrtimer_clock_base {
  int clockid;
  int64_t offset;
};
struct timerqueue_node {
  int64_t expires;
};
struct hrtimer {
  struct timerqueue_node node;
  struct hrtimer_clock_base *base;
  uint8_t state;
};

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
  uint64_t utime, stime, cutime, cstime;
  unsigned long min_flt, maj_flt;
  struct rlimit rlim[16];
  short oom_score_adj, oom_score_adj_min;
};
struct signal_struct___list {
  struct list_head posix_timers;
};

struct dentry;
struct vfsmount;
struct path {
  struct vfsmount *mnt;
  struct dentry *dentry;
};
struct fs_struct {
  int users;
  int umask;
  struct path root, pwd;
};
struct qstr {
  uint64_t hash_len;
  uint32_t len;
  const unsigned char *name;
};
struct inode;
struct hlist_bl_node {
  struct hlist_bl_node **pprev;
};
struct dentry {
  struct hlist_bl_node d_hash;
  struct dentry *d_parent;
  struct qstr d_name;
  struct inode *d_inode;
};
struct super_block {
  uint32_t s_dev;
  unsigned long s_magic;
};
struct file_lock_context;
struct pipe_inode_info;
struct inode {
  unsigned short i_mode;
  kuid_t i_uid;
  kgid_t i_gid;
  struct super_block *i_sb;
  unsigned long i_ino;
  unsigned int i_nlink;
  uint32_t i_rdev;
  int64_t i_size;
  int64_t i_mtime_sec, i_ctime_sec;
  uint32_t i_mtime_nsec, i_ctime_nsec;
  struct file_lock_context *i_flctx;
  struct pipe_inode_info *i_pipe;
};
/// Up to 6.10 the times were structures.
struct inode___timespec {
  struct timespec64 __i_mtime, __i_ctime;
};
enum pid_type { PIDTYPE_PID };
struct fown_struct {
  struct pid *pid;
  enum pid_type pid_type;
  kuid_t uid, euid;
  int signum;
};
struct file_operations;
struct file {
  unsigned int f_mode;
  const struct file_operations *f_op;
  void *private_data;
  struct inode *f_inode;
  unsigned int f_flags;
  struct fown_struct *f_owner;
  struct path f_path;
  int64_t f_pos;
};
/// Up to 6.11 the owner lay inside the file.
struct file___owner_inside {
  struct fown_struct f_owner;
};
struct fdtable {
  unsigned int max_fds;
  struct file **fd;
  unsigned long *close_on_exec;
};
struct files_struct {
  atomic_t count;
  struct fdtable *fdt;
};

struct seqcount {
  unsigned int sequence;
};
typedef struct seqcount seqcount_t;
struct mm_struct {
  atomic_t membarrier_state;
  atomic_t mm_users;
  int map_count;
  seqcount_t mm_lock_seq;
  unsigned long mmap_base, task_size;
  unsigned long total_vm, locked_vm, data_vm, exec_vm, stack_vm;
  unsigned long def_flags;
  unsigned long start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
  unsigned long arg_start, arg_end, env_start, env_end;
  unsigned long saved_auxv[1];
  struct file *exe_file;
  struct user_namespace *user_ns;
  unsigned long flags;
};
/// Up to 6.12 the sequence was a plain number.
struct mm_struct___plain_sequence {
  int mm_lock_seq;
};
typedef struct {
  unsigned long __mm_flags[1];
} mm_flags_t;
struct mm_struct___flags_bitmap {
  mm_flags_t flags;
};
struct ldt_struct;
typedef struct {
  struct ldt_struct *ldt;
  void *vdso;
  uint16_t pkey_allocation_map;
} mm_context_t;
struct mm_struct___context {
  mm_context_t context;
};
struct kioctx_table;
struct mm_struct___aio {
  struct kioctx_table *ioctx_table;
};

struct thread_info {
  unsigned long flags;
  unsigned long syscall_work;
  uint32_t status;
  uint32_t cpu;
};
struct sched_entity {
  uint64_t sum_exec_runtime;
  unsigned char sched_delayed;
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

struct anon_vma_name {
  char name[1];
};
struct vm_userfaultfd_ctx {
  void *ctx;
};
typedef struct {
  unsigned long pgprot;
} pgprot_t;
struct vm_area_struct;
struct vm_special_mapping {
  const char *name;
};
struct vm_operations_struct {
  const char *(*name)(struct vm_area_struct *);
};
struct vm_area_struct {
  unsigned long vm_start, vm_end;
  pgprot_t vm_page_prot;
  unsigned long vm_flags;
  const struct vm_operations_struct *vm_ops;
  unsigned long vm_pgoff;
  struct file *vm_file;
  void *vm_private_data;
  struct anon_vma_name *anon_name;
  struct mempolicy *vm_policy;
  struct vm_userfaultfd_ctx vm_userfaultfd_ctx;
  void *anon_vma;
};

#pragma clang attribute pop
