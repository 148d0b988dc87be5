#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>

#include "base/clock.h"
#include "linux/group_init.h"
#include "posix/scheduling.h"
#include "restore/rebuild.h"

namespace perdure::restore {

namespace {

/// So that whoever is born of it can share its parent's descriptor table.
constexpr bool kStandInShares = true;
/// Below the red zone of a bare task's stack, where nothing lives.
constexpr uint64_t kScratchBelowStack = 4096;

Result<void> await_birth(TracedThread& thread) {
  if (!TRY(thread.wait_for_stop(kBirthTimeoutNs))) return failure("a new task died at once");
  return {};
}

}  // namespace

unsigned long bare_task_options() {
  return PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL;
}

BareProcess::~BareProcess() {
  if (record != nullptr && !released) kill(host_pid, SIGKILL);
}

Result<std::unique_ptr<BareProcess>> ProcessTree::take_over(pid_t host_pid) {
  auto process = std::make_unique<BareProcess>();
  process->host_pid = host_pid;
  process->memory = TRY(open_process_memory(host_pid));
  for (const auto& mapping : TRY(special_mappings(host_pid))) {
    if (mapping.name == "[vdso]") process->vdso = mapping.start;
  }
  if (process->vdso == 0) return failure("the group's init has no vDSO");
  return process;
}

Result<ProcessTree> ProcessTree::build(posix::RestoreContext& context, uint64_t vdso_syscall_offset) {
  ProcessTree tree(context, vdso_syscall_offset);
  const std::map<int, pid_t> roots{{kShepherdPid, context.init.shepherd_pid()}, {kInitPid, context.init.init_pid()}};
  std::vector<std::unique_ptr<BareProcess>> roots_held;
  for (const auto& [pid, host_pid] : roots) {
    bool needed = false;
    for (const auto& [_, record] : context.tree.processes()) needed |= record->parent_pid() == pid;
    if (!needed) continue;
    auto& root = roots_held.emplace_back(TRY(tree.take_over(host_pid)));
    // Not killed with us: init watches over the supervisor by itself.
    root->leader = TRY(TracedThread::seize(host_pid, bare_task_options() & ~static_cast<unsigned long>(PTRACE_O_EXITKILL)));
    TRY(root->leader.interrupt());
    if (!TRY(root->leader.wait_for_stop(kBirthTimeoutNs))) return failure("the group's init died");
    for (const bool same_session : {false, true}) TRY(tree.create_children(*root, pid, 0, same_session));
  }
  TRY(tree.create_orphans());
  if (tree.processes_.size() != context.tree.processes().size()) {
    return failure("the checkpoint's processes do not form a tree");
  }
  TRY(tree.join_process_groups());
  TRY(tree.end_stand_ins());
  return tree;
}

/// A child takes its session from its parent at birth: those that belong to the parent's earlier session are born before it makes its own.
Result<void> ProcessTree::create_children(BareProcess& parent, int parent_pid, int session_wanted, bool same_session) {
  for (const auto& [pid, record] : context_->tree.processes()) {
    if (record->parent_pid() != parent_pid) continue;
    const bool born_in_it = record->session() == session_wanted || record->session() == pid;
    if (born_in_it == same_session && !is_orphan_of_live_session(*record, parent)) TRY(create(parent, *record));
  }
  return {};
}

Result<std::unique_ptr<BareProcess>> ProcessTree::clone(BareProcess& parent, int pid, int exit_signal, bool shares_descriptors) {
  clone_args arguments{};
  arguments.flags = shares_descriptors ? CLONE_FILES : 0;
  const pid_t wanted = pid;
  const uint64_t scratch = TRY(parent.leader.registers()).rsp - kScratchBelowStack;
  arguments.exit_signal = static_cast<uint64_t>(exit_signal);
  arguments.set_tid = scratch + sizeof arguments;
  arguments.set_tid_size = 1;
  TRY(write_memory(parent.memory.get(), scratch, std::as_bytes(std::span(&arguments, 1))));
  TRY(write_memory(parent.memory.get(), arguments.set_tid, std::as_bytes(std::span(&wanted, 1))));
  pid_t host_pid = 0;
  {
    auto remote = TRY(RemoteSyscalls::begin(parent.leader, parent.vdso + vdso_syscall_offset_));
    TRY(remote.checked(fmt::format("create process {}", wanted).c_str(), SYS_clone3, {scratch, sizeof arguments}));
    const auto created = remote.take_created();
    if (created.size() != 1) return failure(fmt::format("process {} was not created", wanted));
    host_pid = created.front();
  }
  auto leader = TracedThread::adopt(host_pid);
  TRY(await_birth(leader));
  auto process = TRY(take_over(host_pid));
  process->leader = std::move(leader);
  process->session = parent.session;
  if (shares_descriptors) process->transport = parent.transport;
  return process;
}

Result<void> ProcessTree::lead_session(BareProcess& process, int pid) {
  auto remote = TRY(RemoteSyscalls::begin(process.leader, process.vdso + vdso_syscall_offset_));
  TRY(remote.checked("make a session", SYS_setsid, {}));
  process.session = pid;
  return {};
}

/// The children that come after inherit it. A session leader without one gets the terminal that it opens.
Result<void> ProcessTree::take_controlling_terminal(BareProcess& process) {
  const auto path = TRY(controlling_terminal_path(*process.record, *context_));
  if (!path) return {};
  const uint64_t scratch = TRY(process.leader.registers()).rsp - kScratchBelowStack;
  TRY(write_memory(process.memory.get(), scratch, std::as_bytes(std::span(path->c_str(), path->size() + 1))));
  auto remote = TRY(RemoteSyscalls::begin(process.leader, process.vdso + vdso_syscall_offset_));
  const uint64_t opened = TRY(remote.checked(fmt::format("take {} as the controlling terminal", *path).c_str(), SYS_open, {scratch, O_RDWR}));
  TRY(remote.checked("close the controlling terminal", SYS_close, {opened}));
  return {};
}

Result<void> ProcessTree::create(BareProcess& parent, const posix::Process& record) {
  const pid_t wanted = record.pid();
  BareProcess* born_from = &parent;
  if (record.session() != wanted && record.session() != parent.session && !context_->tree.processes().contains(record.session())) {
    born_from = TRY(stand_in_session(parent, record.session()));
  }
  const bool shares_descriptors = parent.record != nullptr && record.descriptor_table() != 0 && parent.record->descriptor_table() == record.descriptor_table();
  const auto threads = context_->tree.threads(wanted);
  const auto slack = TRY(posix::SlackAtBirth::lend(threads.empty() ? 0 : born_from->leader.tid(), threads.empty() ? posix::Thread() : *threads.front()));
  auto process = TRY(clone(*born_from, wanted, record.exit_signal(), shares_descriptors));
  process->record = &record;
  BareProcess& child = *process;
  processes_[wanted] = std::move(process);
  if (record.child_subreaper()) {
    auto remote = TRY(RemoteSyscalls::begin(child.leader, child.vdso + vdso_syscall_offset_));
    TRY(remote.checked("become a subreaper", SYS_prctl, {PR_SET_CHILD_SUBREAPER, 1}));
  }
  TRY(create_children(child, wanted, record.session(), false));
  if (record.session() == wanted) {
    TRY(lead_session(child, wanted));
    TRY(take_controlling_terminal(child));
  }
  return create_children(child, wanted, record.session(), true);
}

/// Whether the process was born in a session that lives on, and has come to a parent outside of it.
bool ProcessTree::is_orphan_of_live_session(const posix::Process& record, const BareProcess& parent) const {
  return record.session() != record.pid() && record.session() != parent.session && context_->tree.processes().contains(record.session());
}

/// Each is born of a stand-in below its session's leader, and inherited when that ends.
Result<void> ProcessTree::create_orphans() {
  int free_number = context_->tree.processes().empty() ? 0 : context_->tree.processes().rbegin()->first;
  for (const auto& [pid, record] : context_->tree.processes()) {
    for (const posix::Thread* thread : context_->tree.threads(pid)) free_number = std::max(free_number, thread->tid());
    free_number = std::max({free_number, record->process_group(), record->session()});
  }
  for (const auto& [pid, record] : context_->tree.processes()) {
    const auto leader = processes_.find(record->session());
    if (processes_.contains(pid) || leader == processes_.end()) continue;
    auto process = TRY(clone(*leader->second, ++free_number, 0, kStandInShares));
    BareProcess& parent = *stand_ins_.emplace(free_number, StandIn{std::move(process), leader->second.get()}).first->second.process;
    TRY(create(parent, *record));
  }
  return {};
}

/// Whoever is born below the stand-in comes to `parent`, which inherits orphans, when the stand-in ends.
Result<BareProcess*> ProcessTree::stand_in_session(BareProcess& parent, int session) {
  if (const auto known = stand_ins_.find(session); known != stand_ins_.end()) return known->second.process.get();
  auto process = TRY(clone(parent, session, parent.record == nullptr ? SIGCHLD : 0, kStandInShares));
  TRY(lead_session(*process, session));
  return stand_ins_.emplace(session, StandIn{std::move(process), &parent}).first->second.process.get();
}

Result<void> ProcessTree::stand_in_group(BareProcess& member, int group) {
  auto process = TRY(clone(member, group, 0, kStandInShares));
  auto remote = TRY(RemoteSyscalls::begin(process->leader, process->vdso + vdso_syscall_offset_));
  TRY(remote.checked("make a process group", SYS_setpgid, {0, 0}));
  stand_ins_.emplace(group, StandIn{std::move(process), &member});
  return {};
}

/// Leaders first: a process can only join a group that exists.
Result<void> ProcessTree::join_process_groups() {
  for (const bool leaders : {true, false}) {
    for (auto& [pid, process] : processes_) {
      const int group = process->record->process_group();
      if ((group == pid) != leaders || process->record->session() == pid) continue;
      if (!processes_.contains(group) && !stand_ins_.contains(group)) TRY(stand_in_group(*process, group));
      auto remote = TRY(RemoteSyscalls::begin(process->leader, process->vdso + vdso_syscall_offset_));
      TRY(remote.checked(fmt::format("put process {} into process group {}", pid, group).c_str(), SYS_setpgid,
                         {0, static_cast<uint64_t>(group)}));
    }
  }
  return {};
}

Result<void> ProcessTree::end_stand_ins() {
  for (auto& [pid, stand_in] : stand_ins_) {
    const pid_t host_pid = stand_in.process->host_pid;
    kill(host_pid, SIGKILL);
    stand_in.process->leader.forget();
    // We are told first, as its tracer; then its parent is.
    int status = 0;
    while (waitpid(host_pid, &status, __WALL) == host_pid && !WIFSIGNALED(status) && !WIFEXITED(status)) {
    }
    if (stand_in.parent->record == nullptr) continue;  // init and shepherd reap by themselves
    auto remote = TRY(RemoteSyscalls::begin(stand_in.parent->leader, stand_in.parent->vdso + vdso_syscall_offset_));
    TRY(remote.checked("reap a stand-in", SYS_wait4, {static_cast<uint64_t>(pid), 0, __WALL, 0}));
  }
  stand_ins_.clear();
  return {};
}

}  // namespace perdure::restore
