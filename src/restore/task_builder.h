// Bare tasks: made with the right numbers and relations, then driven from outside until they are what they were.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "linux/process.h"
#include "linux/ptrace.h"
#include "linux/remote.h"
#include "posix/object_tree.h"
#include "posix/restore_context.h"

namespace perdure::restore {

/// How long a task that was just made is waited for.
inline constexpr int64_t kBirthTimeoutNs = 10 * kNanosecondsPerSecond;

/// A process being rebuilt, under ptrace of this OS thread.
struct BareProcess {
  const posix::Process* record = nullptr;
  int session = 0;              ///< that it is in at present
  pid_t host_pid = 0;
  TracedThread leader = TracedThread::adopt(0);
  Fd memory;                    ///< /proc/PID/mem
  uint64_t vdso = 0;            ///< where its vDSO lies at present
  uint64_t stub = 0;            ///< where its batch stub lies; 0 before and after
  /// Number under which it holds the socket that descriptors arrive by; one for all that share a descriptor table.
  std::shared_ptr<int> transport = std::make_shared<int>(PERDURE_INIT_TRANSPORT);
  std::map<int, TracedThread> threads;  ///< all but the leader, by TID
  std::map<int, uint64_t> abort_addresses;  ///< by TID: where a thread goes on that was within an rseq critical section
  bool released = false;                ///< it runs on as itself

  BareProcess() = default;
  BareProcess(const BareProcess&) = delete;
  BareProcess& operator=(const BareProcess&) = delete;
  /// What is not whole must not run.
  ~BareProcess();
};

/// Makes the whole process tree of bare tasks, as children of the shepherd (and init), with PIDs, sessions and process groups.
class ProcessTree {
 public:
  static Result<ProcessTree> build(posix::RestoreContext& context, uint64_t vdso_syscall_offset);
  std::map<int, std::unique_ptr<BareProcess>>& processes() { return processes_; }

 private:
  ProcessTree(posix::RestoreContext& context, uint64_t offset) : context_(&context), vdso_syscall_offset_(offset) {}
  Result<void> create_children(BareProcess& parent, int parent_pid, int session_wanted, bool same_session);
  Result<void> create(BareProcess& parent, const posix::Process& record);
  Result<std::unique_ptr<BareProcess>> clone(BareProcess& parent, int pid, int exit_signal, bool shares_descriptors);
  Result<void> lead_session(BareProcess& process, int pid);
  Result<void> take_controlling_terminal(BareProcess& process);
  Result<void> create_orphans();
  bool is_orphan_of_live_session(const posix::Process& record, const BareProcess& parent) const;
  Result<BareProcess*> stand_in_session(BareProcess& parent, int session);
  Result<void> stand_in_group(BareProcess& member, int group);
  Result<void> end_stand_ins();
  Result<void> join_process_groups();
  Result<std::unique_ptr<BareProcess>> take_over(pid_t host_pid);

  posix::RestoreContext* context_;
  uint64_t vdso_syscall_offset_;
  std::map<int, std::unique_ptr<BareProcess>> processes_;
  /// Leaders of sessions and process groups that had ended, but whose numbers live on: there until everyone has joined.
  struct StandIn {
    std::unique_ptr<BareProcess> process;
    BareProcess* parent;
  };
  std::map<int, StandIn> stand_ins_;
};

/// Options under which restored tasks are traced: they die with the supervisor while half built.
unsigned long bare_task_options();

}  // namespace perdure::restore
