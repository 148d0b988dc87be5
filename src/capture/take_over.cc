// Going on from the checkpoint that a group was restored from.
#include <fmt/format.h>
#include <sys/user.h>

#include <algorithm>

#include "base/clock.h"
#include "capture/internal.h"
#include "linux/userfaultfd.h"
#include "posix/blocked_syscall.h"

namespace perdure::capture {

void Capturer::go_on_from(const store::View& view, const posix::ObjectTree& tree) {
  posix::ObjectId highest = posix::kGroupObject;
  for (const auto& [id, record] : view.objects()) {
    last_records_[id].bytes = record;
    highest = std::max(highest, id);
  }
  for (const store::SpaceId space : view.spaces()) highest = std::max(highest, space);
  identities_ = Identities(highest + 1);
  for (const auto& [id, object] : tree.objects()) {
    if (!object.has_inode() || object.inode().kind() == posix::Inode::kFile) continue;
    restored_contents_[id] = memory::InodePages::hashes_of(view, id);
    if (object.inode().kind() == posix::Inode::kSystemVMemory) {
      identities_.adopt(ObjectKind::segment, static_cast<uint64_t>(object.inode().system_v_id()), 0, id);
    }
  }
}

void Capturer::erase_unmet_spaces(const store::View& view) {
  for (const store::SpaceId space : view.spaces()) {
    const bool known = restored_contents_.contains(space) || std::ranges::any_of(spaces_, [&](const auto& entry) { return entry.second->id == space; });
    if (!known) pending_.erase_space(space);
  }
}

Result<void> Capturer::take_over(const store::View& view, const posix::ObjectTree& tree, std::span<const RestoredProcess> processes,
                                 int64_t elapsed_ns) {
  go_on_from(view, tree);
  std::map<pid_t, uint64_t> address_spaces;
  const auto threads = TRY(collector_.tasks_brief());
  for (const auto& thread : threads) address_spaces[static_cast<pid_t>(thread.host_tid)] = thread.mm;
  impose_deadlines(tree, threads, elapsed_ns);
  PausedState state;
  TRY(take_segments(state));
  for (const RestoredProcess& process : processes) {
    TRY(take_over_space(view, process, address_spaces[process.thread->tid()], state));
  }
  erase_unmet_spaces(view);
  return {};
}

Result<void> Capturer::take_over_running(const store::View& view, const posix::ObjectTree& tree, memory::LazyFill& fill) {
  struct Met {
    RestoredProcess process;
    uint64_t mm;
    std::vector<memory::PageRun> unchanged;
  };
  exited_ = detach_all(std::move(exited_));
  TRY(look());
  auto options = stop_options();
  // Nobody is to write between the look at what has changed and the tracking.
  options.restless = [](const auto&) { return true; };
  auto group = TRY(StoppedGroup::stop(collector_, options));
  std::vector<Met> met;
  for (const auto& [id, userfaultfd] : fill.userfaultfds()) {
    const auto watched = collector_.userfaultfd(userfaultfd);
    const auto thread = std::ranges::find_if(group.threads(), [&](const auto& candidate) { return watched && candidate.mm == watched->mm && !is_dead(candidate); });
    if (thread == group.threads().end()) continue;
    TracedThread* traced = group.traced(thread->task);
    if (traced == nullptr) traced = TRY(group.stop_sleeper(*thread));
    const auto host_pid = static_cast<pid_t>(thread->host_tid);
    met.push_back({{id, host_pid, traced}, thread->mm, TRY(fill.unchanged_pages(id, host_pid))});
  }
  fill.end();
  go_on_from(view, tree);
  PausedState state;
  auto taken = [&]() -> Result<void> {
    TRY(take_segments(state));
    for (const Met& one : met) TRY(take_over_space(view, one.process, one.mm, state, &one.unchanged));
    if (!TRY(group.disturbed()).empty()) return failure("a thread woke");
    return {};
  }();
  // What is tracked from the next checkpoint on is new to it, down to the last page.
  if (!taken) spaces_.clear();
  erase_unmet_spaces(view);
  return {};
}

/// The kernel would give them the whole timeout of their sockets again.
void Capturer::impose_deadlines(const posix::ObjectTree& tree, const std::vector<posix::ThreadBrief>& threads, int64_t elapsed_ns) {
  struct Call {
    uint64_t instruction;
    int64_t deadline_ns;
  };
  std::map<int, Call> calls;
  for (const auto& [id, object] : tree.objects()) {
    if (!object.has_thread() || !object.thread().has_blocked() || object.thread().blocked().remaining_ns() < 0) continue;
    if (!posix::has_socket_timeout(object.thread())) continue;
    constexpr int kInstructionPointer = offsetof(user_regs_struct, rip) / sizeof(uint64_t);
    calls[object.thread().tid()] = {object.thread().registers(kInstructionPointer) - kSystemCallBytes,
                                    monotonic_ns() + object.thread().blocked().remaining_ns() - elapsed_ns};
  }
  for (const auto& thread : threads) {
    const auto found = calls.find(static_cast<int>(thread.tid));
    if (found != calls.end()) sleeps_.impose(thread, found->second.instruction, found->second.deadline_ns);
  }
}

/// Arms the tracking: whatever is written from here on, by the restore itself too, is found by the first scan; and what is not `unchanged` where that is
/// given.
Result<void> Capturer::take_over_space(const store::View& view, const RestoredProcess& process, uint64_t mm, PausedState& state,
                                       const std::vector<memory::PageRun>* unchanged) {
  if (mm == 0) return failure(fmt::format("process {} was restored without an address space", process.host_pid));
  auto& space = spaces_[mm];
  if (space != nullptr) return {};
  space = std::make_unique<Space>();
  space->mm = mm;
  space->id = process.address_space;
  space->host_pid = process.host_pid;
  identities_.adopt(ObjectKind::address_space, mm, 0, space->id);
  TRY(begin_tracking(*space, *process.thread));
  TRY(update_mappings(*space, state));
  if (unchanged == nullptr) TRY(space->tracked->scan());
  else for (const memory::PageRun& run : *unchanged) TRY(count_as_unwritten(space->tracked->userfaultfd(), run.first * kPageSize, run.end() * kPageSize));
  // What is mapped is read again at the first checkpoint, with all that goes with it.
  space->mapped = false;
  constexpr uint64_t kAllPages = 1ull << 51;
  for (const auto& run : view.runs(space->id, 0, kAllPages)) space->stored.insert({run.first, run.count});
  return {};
}

/// What was restored of inodes and is in nobody's hands any more by the first checkpoint.
void Capturer::drop_unmet_inodes() {
  for (const auto& [id, hashes] : restored_contents_) pending_.erase_space(id);
  restored_contents_.clear();
  restored_inodes_.clear();
}

}  // namespace perdure::capture
