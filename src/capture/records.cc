// The object tree of an epoch, made from what was read during the pause.
#include <fmt/format.h>
#include <sys/utsname.h>

#include <cstring>
#include <tuple>

#include "base/bytes.h"
#include "base/clock.h"
#include "capture/internal.h"
#include "capture/mutation.h"
#include "linux/group_init.h"
#include "linux/process.h"
#include "posix/blocked_syscall.h"
#include "posix/task_capture.h"

namespace perdure::capture {

Result<void> Capturer::build_records(PausedState& state) {
  posix::Group& group = *state.records[posix::kGroupObject].mutable_group();
  group.set_monotonic_ns(state.now_ns - own_clock_offsets_.monotonic_ns + monotonic_offset_ns_);
  group.set_boottime_ns(state.boottime_ns - own_clock_offsets_.boottime_ns + boottime_offset_ns_);
  group.set_root_pid(root_pid_);
  utsname names{};
  uname(&names);
  group.set_kernel_release(names.release);
  group.set_vdso_hash(vdso_hash_);
  TRY(build_tasks(state));
  // An executable without a name may be met nowhere but there.
  TRY(take_memory_inodes(state));
  TRY(check_recalled_inodes(state));
  forget_memory_inodes(state);
  if (!options_.disabled_kinds.empty()) leave_out(options_.disabled_kinds, state.records);
  return {};
}

/// What an attached group's processes have outside of it: after a restore the shepherd is their parent, and the first process leads
/// the session and the process group.
void Capturer::bring_inside(posix::Process& process, const std::set<int>& pids) const {
  if (!pids.contains(process.parent_pid())) process.set_parent_pid(kShepherdPid);
  if (!pids.contains(process.session())) process.set_session(root_pid_);
  if (!pids.contains(process.process_group())) process.set_process_group(root_pid_);
}

/// By way of /proc, which a process has for as long as it is held.
Result<void> Capturer::read_directories(PausedState& state) {
  for (const posix::ThreadRecord* thread : state.tasks.threads) {
    const posix::ThreadBrief& brief = thread->brief;
    if (is_scaffold(brief) || is_dead(brief)) continue;
    const pid_t host_pid = state.process_handle(brief);
    const auto* directories = state.tasks.file_system_contexts.find(brief.fs);
    const auto* space = state.tasks.address_spaces.find(brief.mm);
    if (directories == nullptr || space == nullptr) return failure(fmt::format("process {} could not be read whole", brief.tgid));
    if (!state.executables.contains(brief.mm)) state.executables[brief.mm] = TRY(executable_of(*space, host_pid, state));
    if (state.directories.contains(brief.fs)) continue;
    posix::FileSystemContext context = TRY(directories_of(*directories, host_pid));
    if (context.working_directory().ends_with(kDeleted)) {
      return failure(fmt::format("process {}: its working directory '{}' was removed: this cannot be persisted", brief.tgid, context.working_directory()));
    }
    context.set_umask(directories->umask);
    state.directories.emplace(brief.fs, std::move(context));
  }
  std::erase_if(known_directories_, [&](const auto& known) { return !state.directories.contains(known.first); });
  std::erase_if(known_executables_, [&](const auto& known) { return !state.executables.contains(known.first); });
  return {};
}

Result<posix::FileSystemContext> Capturer::directories_of(const posix::FileSystemContextRecord& source, pid_t host_pid) {
  KnownDirectories& known = known_directories_[source.fs];
  const std::array place{source.root_dentry,    source.root_mount,          source.directory_dentry,
                         source.directory_mount, source.root_signature,      source.directory_signature};
  if (known.place == place) return known.context;
  known.place = {};
  known.context.set_working_directory(TRY(read_link(fmt::format("/proc/{}/cwd", host_pid))));
  known.context.set_root_directory(TRY(read_link(fmt::format("/proc/{}/root", host_pid))));
  known.place = place;
  return known.context;
}

/// One that lies outside of the store, and is where it was, needs no second look.
Result<posix::ObjectId> Capturer::executable_of(const posix::AddressSpaceRecord& source, pid_t host_pid, PausedState& state) {
  const uint64_t address = source.executable_file_inode_address;
  const std::array place{address, source.executable_inode, source.executable_signature};
  const posix::ObjectId number = identities_.of(ObjectKind::inode, address, source.executable_inode);
  const auto last = inodes_.find(number);
  if (const auto known = known_executables_.find(source.mm); known != known_executables_.end() && known->second == place && last != inodes_.end()) {
    if (state.inodes.try_emplace(address, number).second) keep_inode(number, state);
    return number;
  }
  known_executables_.erase(source.mm);
  const posix::ObjectId found = TRY(inode_at(fmt::format("/proc/{}/exe", host_pid), address, source.executable_inode, false, state));
  if (!state.memory_inodes.contains(found) && !state.read_only_memory.contains(found)) known_executables_.emplace(source.mm, place);
  return found;
}

namespace {

bool has_same_bytes(const posix::RecordHeader& first, const posix::RecordHeader& second) {
  return &first == &second || (first.size == second.size && std::memcmp(&first, &second, first.size) == 0);
}

}  // namespace

/// Whether a thread's record of the last epoch is right: it has not run, and nobody has changed it.
bool Capturer::keep_thread(posix::ObjectId id, uint64_t task, const KnownThread& now, PausedState& state) {
  state.known_threads.emplace(task, now);
  const auto found = known_threads_.find(task);
  if (found == known_threads_.end() || !now.can_be_kept || !found->second.can_be_kept) return false;
  const KnownThread& last = found->second;
  // Of credentials the thread's record has but the address, at which there may be others by now.
  const bool is_same = has_same_bytes(last.read->brief.header, now.read->brief.header) && has_same_bytes(last.credentials->header, now.credentials->header);
  const auto figures = [](const posix::BlockedCall& call) { return std::tuple(call.number, call.remaining_ns, call.done, call.ahead_bytes); };
  if (!is_same || last.descriptor_table != now.descriptor_table || figures(last.call) != figures(now.call)) return false;
  state.kept.insert(id);
  return true;
}

Result<void> Capturer::build_tasks(PausedState& state) {
  host_pids_.clear();
  const auto main_tables = posix::main_tables(state.tasks);
  std::map<uint64_t, const posix::ThreadRecord*> leaders;
  std::map<uint64_t, const posix::ThreadRecord*> living;  // any live thread of each process
  for (const posix::ThreadRecord* thread : state.tasks.threads) {
    if (thread->brief.tid == thread->brief.tgid) leaders[thread->brief.signal] = thread;
    if (!is_dead(thread->brief)) living.emplace(thread->brief.signal, thread);
  }
  for (const posix::ThreadRecord* thread : state.tasks.threads) {
    const posix::ThreadBrief& brief = thread->brief;
    const bool leader_exited = is_dead(brief) && brief.tid == brief.tgid && living.contains(brief.signal);
    if (is_scaffold(brief) || (is_dead(brief) && !leader_exited)) continue;
    const auto* credentials = state.tasks.credentials.find(brief.credentials);
    if (credentials == nullptr) return failure(fmt::format("thread {}: its credentials could not be read", brief.tid));
    const auto called = state.calls.find(brief.task);
    const posix::BlockedCall call = called == state.calls.end() ? posix::BlockedCall{} : called->second;
    const bool has_own_table = brief.files != 0 && main_tables.at(brief.signal) != brief.files;
    const posix::ObjectId own_table = has_own_table ? identities_.of(ObjectKind::descriptor_table, brief.files) : 0;
    const posix::ObjectId id = identities_.of(ObjectKind::thread, brief.task, brief.start_boottime_ns);
    const bool can_be_kept = !leader_exited && brief.pending_signals == 0 && !call.entered;
    if (keep_thread(id, brief.task, {thread, credentials, call, own_table, can_be_kept}, state)) continue;
    auto record = TRY(posix::thread_record(*thread, *credentials, call));
    posix::add_pending_signals(state.tasks, brief.task, record.mutable_pending());
    if (leader_exited) posix::forget_user_memory(record);
    if (own_table != 0) record.set_descriptor_table(own_table);
    *state.records[id].mutable_thread() = std::move(record);
  }
  std::set<int> pids;
  for (const auto& [signal, leader] : leaders) pids.insert(static_cast<int>(leader->brief.tgid));
  for (const auto& [signal, leader] : leaders) {
    if (is_scaffold(leader->brief)) continue;
    const auto alive = living.find(signal);
    const bool zombie = alive == living.end();
    const posix::ThreadBrief& brief = zombie ? leader->brief : alive->second->brief;
    const auto* source = state.tasks.processes.find(signal);
    if (source == nullptr) return failure(fmt::format("process {} could not be read", brief.tgid));
    auto process = TRY(posix::process_record(state.tasks, *source, *leader));
    if (options_.cgroup_id != 0) bring_inside(process, pids);
    constexpr unsigned kMinorBits = 20;
    process.set_has_group_terminal(terminal_device_ != 0 && source->controlling_terminal != 0 &&
                                   (source->terminal_major << kMinorBits | (source->terminal_minor_start + source->terminal_index)) ==
                                       terminal_device_);
    if (!process.has_group_terminal()) process.set_controlling_terminal(source->controlling_terminal);
    if (is_dead(leader->brief)) process.set_exit_code(static_cast<int>(leader->brief.exit_code));
    process.set_zombie(zombie);
    process.set_leader_exited(is_dead(leader->brief) && !zombie);
    if (!zombie) {
      host_pids_.push_back(static_cast<pid_t>(brief.host_tgid));
      process.set_address_space(identities_.of(ObjectKind::address_space, brief.mm));
      const auto table = main_tables.find(signal);
      if (table == main_tables.end()) return passing_failure(fmt::format("process {} is about to end", brief.tgid), Retry::at_once);
      process.set_descriptor_table(identities_.of(ObjectKind::descriptor_table, table->second));
      process.set_file_system_context(identities_.of(ObjectKind::file_system_context, brief.fs));
      process.set_signal_handlers(identities_.of(ObjectKind::signal_handlers, brief.sighand));
      const auto* handlers = state.tasks.signal_handlers.find(brief.sighand);
      const auto* space = state.tasks.address_spaces.find(brief.mm);
      if (handlers == nullptr || space == nullptr || !spaces_.contains(brief.mm) || !state.directories.contains(brief.fs)) {
        return failure(fmt::format("process {} could not be read whole", brief.tgid));
      }
      *state.records[process.signal_handlers()].mutable_signal_handlers() = posix::signal_handlers_record(*handlers);
      *state.records[process.file_system_context()].mutable_file_system_context() = state.directories.at(brief.fs);
      posix::AddressSpace& record = *state.records[process.address_space()].mutable_address_space();
      record = posix::address_space_record(*space);
      record.set_executable(state.executables.at(brief.mm));
      for (const posix::Mapping& mapping : spaces_.at(brief.mm)->mappings) *record.add_mappings() = mapping;
      for (const memory::PageRun& guard : spaces_.at(brief.mm)->guards) {
        record.add_guard_ranges(guard.first * kPageSize);
        record.add_guard_ranges(guard.end() * kPageSize);
      }
    }
    *state.records[identities_.of(ObjectKind::process, signal, leader->brief.start_boottime_ns)].mutable_process() = std::move(process);
  }
  return {};
}

}  // namespace perdure::capture
