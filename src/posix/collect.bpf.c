// The collector's kernel side: each program reads one kind of kernel state of a group, in one run, into the output map. The programs run
// when the supervisor asks (BPF_PROG_RUN), in its own context: nothing runs in the group, and nothing stays attached.
#include "posix/kernel.bpf.h"

#include "posix/address_space.bpf.h"
#include "posix/credentials.bpf.h"
#include "posix/descriptor_table.bpf.h"
#include "posix/message_queue.bpf.h"
#include "posix/process.bpf.h"
#include "posix/semaphore.bpf.h"
#include "posix/socket_queue.bpf.h"
#include "posix/task.bpf.h"
#include "posix/timer.bpf.h"
#include "posix/transfer.bpf.h"

#include "posix/group.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int put_brief(struct Pass *pass, uint64_t task_address) {
  struct task_struct *task = KERNEL(task_struct, task_address);
  struct ThreadBrief *brief = begin_record(pass, sizeof(*brief), 0);
  if (!brief) return 0;
  if (is_as_told(kToldBriefly, pass->request->memory, task_address, mix(state_signature(task), mm_sequence(task->mm)))) {
    return put_same_thread(pass, (struct SameThreadRecord *)brief, task_address);
  }
  fill_brief(pass, task, brief);
  finish_record(pass, &brief->header, kThreadBriefRecord, sizeof(*brief));
  return 1;
}

/// What a thread shares comes before it, so that a full output can be gone on from at the same thread.
static __always_inline int put_task(struct Pass *pass, uint64_t task_address) {
  struct task_struct *task = KERNEL(task_struct, task_address);
  return put_process(pass, task_address) && put_signal_handlers(pass, task_address) && put_address_space(pass, task_address) &&
         put_credentials(pass, ADDRESS(task, cred)) && put_credentials(pass, ADDRESS(task, real_cred)) &&
         put_namespaces(pass, ADDRESS(task, nsproxy)) && put_file_system_context(pass, ADDRESS(task, fs)) &&
         put_thread(pass, task_address);
}

static __always_inline bool is_stale(struct CollectRequest *request) {
  if (request->filter != kFilterPidNamespace) return false;
  if (KERNEL(pid_namespace, request->namespace_address)->ns.inum == request->namespace_inode) return false;
  request->status = kPassStale;
  return true;
}

static __always_inline bool begin_group_pass(struct Pass *pass, struct CollectRequest *request) {
  return begin_pass(pass, request) && !is_stale(request);
}

static __always_inline bool visit_brief(struct Pass *pass, uint64_t task) {
  return !is_member(pass->request, task) || put_brief(pass, task);
}
static __always_inline bool visit_task(struct Pass *pass, uint64_t task) {
  return !is_member(pass->request, task) || put_task(pass, task);
}
/// False, and the namespace noted, at the first task of the namespace looked for.
static __always_inline bool visit_to_locate(struct CollectRequest *request, uint64_t task) {
  struct pid *pid = KERNEL(task_struct, task)->thread_pid;
  uint64_t namespace = pid_namespace_at(pid, pid->level);
  if (KERNEL(pid_namespace, namespace)->ns.inum != request->namespace_inode) return true;
  request->namespace_address = namespace;
  return false;
}

/// The same at the first task of the cgroup looked for, whose depth is noted.
static __always_inline bool visit_to_locate_cgroup(struct CollectRequest *request, uint64_t task) {
  int level = cgroup_level_of(KERNEL(task_struct, task), request->cgroup_id);
  if (level < 0) return true;
  request->cgroup_level = level;
  request->status = kPassDone;
  return false;
}

static __always_inline void measure_kernel_stack(struct CollectRequest *request) {
  struct task_struct *self = bpf_get_current_task_btf();
  request->registers_offset = (uint64_t)bpf_task_pt_regs(self) - (uint64_t)KERNEL(task_struct, self)->stack;
}

/// Finds the group's PID namespace by its inode number (request->next: a task in it), and measures what differs between machines.
SEC("syscall")
int locate_namespace(struct CollectRequest *request) {
  measure_kernel_stack(request);
  request->namespace_address = 0;
  bpf_rcu_read_lock();
  VISIT_TASKS(request, host_namespace(), visit_to_locate, request);
  bpf_rcu_read_unlock();
  return 0;
}

/// Finds the group's cgroup by its id.
SEC("syscall")
int locate_cgroup(struct CollectRequest *request) {
  measure_kernel_stack(request);
  request->status = kPassNoTask;
  bpf_rcu_read_lock();
  VISIT_TASKS(request, host_namespace(), visit_to_locate_cgroup, request);
  bpf_rcu_read_unlock();
  return 0;
}

SEC("syscall")
int read_tasks_brief(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_group_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  VISIT_TASKS(request, walked_namespace(request), visit_brief, &pass);
  bpf_rcu_read_unlock();
  return 0;
}

SEC("syscall")
int read_tasks(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_group_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  VISIT_TASKS(request, walked_namespace(request), visit_task, &pass);
  bpf_rcu_read_unlock();
  return 0;
}

/// What a task has in any number: queued signals of its own, and of the process, timers, undo lists. Few tasks have any: they are not read
/// with the others, since loops within loops are what the verifier takes longest over.
SEC("syscall")
int read_thread_signals(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  put_pending_signals(&pass, &KERNEL(task_struct, request->address)->pending, request->address);
  bpf_rcu_read_unlock();
  return 0;
}

SEC("syscall")
int read_process_signals(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  struct task_struct *task = KERNEL(task_struct, request->address);
  put_pending_signals(&pass, &task->signal->shared_pending, ADDRESS(task, signal));
  bpf_rcu_read_unlock();
  return 0;
}

SEC("syscall")
int read_timers(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  struct task_struct *task = KERNEL(task_struct, request->address);
  put_posix_timers(&pass, task->signal, ADDRESS(task, signal), group_level(request, task));
  bpf_rcu_read_unlock();
  return 0;
}

SEC("syscall")
int read_semaphore_undos(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  put_semaphore_undos(&pass, request->address);
  bpf_rcu_read_unlock();
  return 0;
}

/// The address space that a userfaultfd of the caller (descriptor request->next) watches.
SEC("syscall")
int read_userfaultfd(struct CollectRequest *request) {
  request->status = kPassWrongKind;
  bpf_rcu_read_lock();
  struct fdtable *table = KERNEL(task_struct, bpf_get_current_task())->files->fdt;
  if (request->next < table->max_fds) {
    uint64_t address = word_at(ADDRESS(table, fd) + request->next * 8);
    struct file *file = KERNEL(file, address);
    uint64_t name = ADDRESS(file->f_path.dentry, d_name.name);
    if (address && file->f_inode->i_sb->s_magic == kAnonymousInodeMagic && word_at(name) == kUserfaultfdName) {
      request->address = (uint64_t)file->private_data;
      request->result = (uint64_t)KERNEL(userfaultfd_ctx, file->private_data)->mm;
      request->status = kPassDone;
    }
  }
  bpf_rcu_read_unlock();
  return 0;
}

/// The flags of the thread that asks.
SEC("syscall")
int read_own_flags(struct CollectRequest *request) {
  request->result = KERNEL(task_struct, bpf_get_current_task())->thread_info.flags;
  return 0;
}

/// How the running kernel lays out what is read by address.
SEC("syscall")
int read_layout(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  describe_layout((struct KernelLayout *)pass.bytes);
  request->used = sizeof(struct KernelLayout);
  return 0;
}

/// A piece of kernel memory, as it is.
SEC("syscall")
int read_memory(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  uint64_t size = at_most(request->size, kOutputCapacity);
  if (bpf_probe_read_kernel(pass.bytes, size, (void *)request->address)) request->status = kPassWrongKind;
  else request->used = size;
  return 0;
}

/// The credentials of one task.
SEC("syscall")
int read_credentials(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  uint64_t task = find_task(host_namespace(), request->host_pid);
  if (task) put_credentials(&pass, ADDRESS(KERNEL(task_struct, task), cred));
  else request->status = kPassNoTask;
  bpf_rcu_read_unlock();
  return 0;
}

SEC("syscall")
int read_files(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  uint64_t task = find_task(host_namespace(), request->host_pid);
  if (task) put_files(&pass, KERNEL(task_struct, task));
  else request->status = kPassNoTask;
  bpf_rcu_read_unlock();
  return 0;
}

SEC("syscall")
int read_socket_queue(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  put_socket_queue(&pass);
  bpf_rcu_read_unlock();
  return 0;
}

/// The socket at request->address that has no file yet.
SEC("syscall")
int read_waiting_connection(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  put_socket(&pass, request->address, 0, group_level_of_caller(request));
  bpf_rcu_read_unlock();
  return 0;
}

SEC("syscall")
int read_in_flight(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  put_in_flight(&pass);
  bpf_rcu_read_unlock();
  return 0;
}

SEC("syscall")
int read_message_queue(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  bpf_rcu_read_lock();
  put_message_queue(&pass);
  bpf_rcu_read_unlock();
  return 0;
}

static __always_inline int global_pid(struct CollectRequest *request) {
  uint64_t found = find_task(host_namespace(), request->host_pid);
  request->status = kPassNoTask;
  return found ? KERNEL(task_struct, found)->pid : 0;
}

SEC("syscall")
int read_mappings(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  struct task_struct *task = bpf_task_from_pid(global_pid(request));
  if (!task) return 0;
  request->status = kPassDone;
  put_mappings(&pass, task);
  bpf_task_release(task);
  return 0;
}

/// The same for kernels before 6.10, where a program of this type may not look a task up but may come across it.
SEC("syscall")
int read_mappings_by_search(struct CollectRequest *request) {
  struct Pass pass;
  if (!begin_pass(&pass, request)) return 0;
  int pid = global_pid(request);
  struct bpf_iter_task tasks;
  bpf_rcu_read_lock();
  bpf_iter_task_new(&tasks, NULL, BPF_TASK_ITER_ALL_THREADS);
  REPEAT(kPidLimit) {
    struct task_struct *task = bpf_iter_task_next(&tasks);
    if (!task) break;
    if (task->pid != pid) continue;
    request->status = kPassDone;
    put_mappings(&pass, task);
    break;
  }
  bpf_iter_task_destroy(&tasks);
  bpf_rcu_read_unlock();
  return 0;
}
