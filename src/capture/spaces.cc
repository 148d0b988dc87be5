// Address spaces: which there are, what is mapped, what was written.
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>

#include "base/bytes.h"
#include "base/clock.h"
#include "capture/internal.h"
#include "capture/mutation.h"
#include "linux/process.h"
#include "posix/vm_flags.h"

namespace perdure::capture {

namespace {

namespace vm = posix::vm_flags;
using posix::Mapping;
using posix::MappingRecord;

Mapping::Special special_of(const MappingRecord& mapping) {
  if (mapping.is_special == 0) return Mapping::kOrdinary;
  const std::string_view name(mapping.name);
  if (name == "[vdso]") return Mapping::kVdso;
  if (name == "[vvar]") return Mapping::kVvar;
  if (name == "[vvar_vclock]") return Mapping::kVvarClocks;
  return Mapping::kVsyscall;
}

/// The kernel keeps two neighbours apart or makes them one as it comes (to be tracked may be the occasion): they are one here if they could be.
bool continues(const Mapping& first, const Mapping& second) {
  return first.special() == Mapping::kOrdinary && second.special() == Mapping::kOrdinary && first.end() == second.start() &&
         first.flags() == second.flags() && first.inode() == second.inode() && first.name() == second.name() &&
         (first.inode() == 0 || first.offset() + (first.end() - first.start()) == second.offset());
}

std::vector<Mapping> joined(std::vector<Mapping> mappings) {
  std::vector<Mapping> result;
  for (Mapping& mapping : mappings) {
    if (!result.empty() && continues(result.back(), mapping)) result.back().set_end(mapping.end());
    else result.push_back(std::move(mapping));
  }
  return result;
}

std::string describe(const MappingRecord& mapping, pid_t pid) {
  return fmt::format("process {}: mapping {:x}-{:x} {}", pid, mapping.start, mapping.end, mapping.name);
}

}  // namespace

/// Forked children come tracked, with all that is known of their parents. `threads`: those that there are, every one if the group stands still.
/// A parent that woke while its pages were read may have forked, and then written what was read: such a child is met as a newcomer.
void Capturer::adopt_forks(const std::vector<posix::ThreadBrief>& threads) {
  // A child that was not met the last time may have come since; the second time it is gone.
  const size_t second_time = forks_.size();
  for (memory::ForkWatch::Fork& fork : fork_watch_->take()) forks_.push_back(std::move(fork));
  std::vector<memory::ForkWatch::Fork> unclaimed;
  for (size_t at = 0; at < forks_.size(); ++at) {
    memory::ForkWatch::Fork& fork = forks_[at];
    const auto watched = collector_.userfaultfd(fork.child.userfaultfd());
    const auto parent = std::ranges::find_if(spaces_, [&](const auto& space) {
      return space.second->tracked && space.second->tracked->watched().number() == fork.parent;
    });
    const auto thread = std::ranges::find_if(threads, [&](const auto& candidate) { return watched && candidate.mm == watched->mm && !is_dead(candidate); });
    if (thread == threads.end()) {
      if (at >= second_time) unclaimed.push_back(std::move(fork));
    } else if (parent != spaces_.end() && !is_scaffold(*thread) && !was_disturbed_) {
      adopt_fork(*parent->second, std::move(fork.child), *thread);
    }
  }
  forks_ = std::move(unclaimed);
}

/// Whether it forked before or after its parent's pages were copied ahead, nobody knows: the child's own are read again.
void Capturer::adopt_fork(Space& parent, memory::ForkWatch::Watched userfaultfd, const posix::ThreadBrief& thread) {
  auto tracked = memory::TrackedSpace::adopt(std::move(userfaultfd), static_cast<pid_t>(thread.host_tid));
  if (!tracked) return;
  for (const memory::PageRun& run : parent.unsure) {
    if (!tracked->count_as_written(run)) return;
  }
  keep_ahead(parent, {});
  auto space = std::make_unique<Space>();
  space->mm = thread.mm;
  space->host_pid = static_cast<pid_t>(thread.host_tid);
  space->id = identities_.of(ObjectKind::address_space, thread.mm);
  space->tracked = std::move(*tracked);
  if (const auto watched = collector_.userfaultfd(space->tracked->userfaultfd())) space->userfaultfd_context = watched->context;
  // The store may still hold what a process had whose address space lay at the same address, or this one's before it lost its tracking.
  pending_.erase_space(space->id);
  if (parent.id != 0) {
    pending_.fork_space(parent.id, space->id);
    space->stored = parent.stored;
    space->unsure = parent.unsure;
  }
  spaces_[thread.mm] = std::move(space);
}

void Capturer::end_tracking() {
  spaces_.clear();
  forks_.clear();
  fork_watch_->take();
}

/// Sets up write tracking in new processes while all the others run on. What fails here is tried again when the group stands still.
Result<void> Capturer::track_newcomers() {
  adopt_forks(present_);
  std::map<uint64_t, const posix::ThreadBrief*> newcomers;
  for (const posix::ThreadBrief& thread : present_) {
    if (is_scaffold(thread) || is_dead(thread) || thread.mm == 0 || !can_be_stopped(thread)) continue;
    const auto known = spaces_.find(thread.mm);
    if (known == spaces_.end() || !known->second->tracked) newcomers.emplace(thread.mm, &thread);
  }
  if (newcomers.empty()) return {};
  for (const auto& [mm, thread] : newcomers) {
    auto group = StoppedGroup::nobody(collector_, stop_options());
    const auto held = group.stop_sleeper(*thread);
    if (!held) continue;
    // What is refused now may be of this moment (vfork), and is not driven; it is met again when the group stands still.
    const auto now = group_tasks();
    if (!now || !refuse_what_cannot_be_saved(*now)) return {};
    // It may have executed another program before it stopped.
    const auto is_same = [&](const posix::ThreadRecord* seen) { return seen->brief.task == thread->task && seen->brief.mm == mm; };
    if (std::ranges::none_of(now->threads, is_same)) continue;
    auto space = std::make_unique<Space>();
    space->mm = mm;
    space->host_pid = static_cast<pid_t>(thread->host_tid);
    if (!begin_tracking(*space, **held)) continue;
    // One that lost its tracking still has pages in the store, which may be gone by now.
    if (const auto known = spaces_.find(mm); known != spaces_.end()) {
      space->id = known->second->id;
      space->stored = std::move(known->second->stored);
    }
    spaces_[mm] = std::move(space);
  }
  return {};
}

/// Finds the address spaces in use, and sets up write tracking in those that are new, by way of one of their threads.
Result<void> Capturer::track_spaces(StoppedGroup& group, PausedState& state) {
  adopt_forks(group.threads());
  forks_.clear();
  for (auto& [mm, space] : spaces_) {
    space->seen = false;
    space->unsure.clear();
  }
  state.note_exited_leaders(group.threads());
  std::map<uint64_t, const posix::ThreadBrief*> candidates;
  for (const posix::ThreadBrief& thread : group.threads()) {
    if (is_scaffold(thread) || is_dead(thread) || thread.mm == 0) continue;
    auto& candidate = candidates[thread.mm];
    // A thread that is stopped anyway is preferred to a sleeper.
    if (candidate == nullptr || group.traced(candidate->task) == nullptr) candidate = &thread;
  }
  bool examined = false;
  for (const auto& [mm, thread] : candidates) {
    auto& space = spaces_[mm];
    if (space == nullptr) {
      space = std::make_unique<Space>();
      space->mm = mm;
    }
    space->seen = true;
    space->id = identities_.of(ObjectKind::address_space, mm);
    space->host_pid = state.process_handle(*thread);
    if (space->tracked && (space->tracked->is_unsound() || fork_watch_->is_lost(space->tracked->watched()))) {
      space->tracked.reset();
      space->mapped = false;
    }
    if (!space->tracked) {
      if (!std::exchange(examined, true)) TRY(refuse_what_cannot_be_saved(TRY(group_tasks())));
      TracedThread* traced = group.traced(thread->task);
      if (traced == nullptr) traced = TRY(group.stop_sleeper(*thread));
      TRY(begin_tracking(*space, *traced));
    }
    // Of what an attempt met that came to nothing not everything is known.
    if (!std::ranges::all_of(space->inodes, [&](const MappedInode& inode) { return is_known(inode); })) space->mapped = false;
    if (!space->mapped || space->lock_seq != thread->mm_lock_seq) {
      mappings_changed_ = true;
      TRY(update_mappings(*space, state));
    } else {
      recall_inodes(*space, state);
    }
    TRY(note_mapped_files(*space, state));
    space->lock_seq = thread->mm_lock_seq;
  }
  for (auto at = spaces_.begin(); at != spaces_.end();) {
    if (at->second->seen) {
      ++at;
      continue;
    }
    mappings_changed_ = true;
    if (at->second->id != 0) pending_.erase_space(at->second->id);
    at = spaces_.erase(at);
  }
  return {};
}

Result<void> Capturer::begin_tracking(Space& space, TracedThread& thread) {
  uint64_t vdso = 0;
  for (const MappingRecord& mapping : TRY(collector_.mappings(space.host_pid))) {
    if (special_of(mapping) == Mapping::kVdso) vdso = mapping.start;
  }
  if (vdso == 0) return failure(fmt::format("process {} has no vDSO: it cannot be persisted", space.host_pid));
  space.tracked = TRY(memory::TrackedSpace::begin(thread, space.host_pid, vdso, vdso + vdso_syscall_offset_, *fork_watch_));
  space.userfaultfd_context = TRY(collector_.userfaultfd(space.tracked->userfaultfd())).context;
  return {};
}

Result<void> Capturer::update_mappings(Space& space, PausedState& state) {
  std::vector<memory::TrackedRange> ranges;
  std::vector<Mapping> mappings;
  const auto before = std::exchange(space.inodes, {});
  const auto known_inode = [&](const MappingRecord& source, bool written) {
    const auto same = [&](const auto& inode) { return inode.address == source.inode && inode.number == source.inode_number && inode.written == written; };
    return space.mapped ? std::ranges::find_if(before, same) : before.end();
  };
  for (const MappingRecord& source : TRY(collector_.mappings(space.host_pid))) {
    Mapping& mapping = mappings.emplace_back();
    mapping.set_start(source.start);
    mapping.set_end(source.end);
    mapping.set_flags(source.flags & ~vm::kUffdWriteProtect);
    mapping.set_offset(source.page_offset * kPageSize);
    mapping.set_special(special_of(source));
    if (mapping.special() != Mapping::kOrdinary) continue;
    if (source.flags & (vm::kIo | vm::kPfnMap)) return failure(describe(source, space.host_pid) + " is a device's memory");
    if (source.mempolicy != 0) return failure(describe(source, space.host_pid) + " has a memory policy");
    if (source.file != 0) {
      const std::string link = fmt::format("/proc/{}/map_files/{:x}-{:x}", space.host_pid, source.start, source.end);
      const bool written = (source.flags & vm::kMayShare) != 0 && (source.flags & vm::kMayWrite) != 0;
      const auto known = known_inode(source, written);
      mapping.set_inode(known != before.end() ? known->object : TRY(inode_at(link, source.inode, source.inode_number, written, state)));
      if (segments_.contains(mapping.inode()) && (source.page_offset != 0 || source.end - source.start < source.file_size)) {
        return failure(describe(source, space.host_pid) + " is only a part of an attached System V shared memory segment");
      }
      space.inodes.push_back({source.inode, source.inode_number, mapping.inode(), link, written});
      if (known != before.end()) recall_inode(space.inodes.back(), state);
    } else {
      mapping.set_name(source.name);
      mapping.set_offset(0);
    }
    using Kind = memory::TrackedRange::Kind;
    const bool tracked = (source.flags & vm::kUffdWriteProtect) != 0 && source.userfaultfd_context == space.userfaultfd_context;
    const bool is_whole = (source.flags & vm::kHugePageTable) != 0;
    if (source.flags & vm::kMayShare) {
      // What cannot be written to here is written elsewhere, and noticed there.
      if (!state.memory_inodes.contains(mapping.inode()) || !(source.flags & vm::kMayWrite)) continue;
      ranges.push_back({Kind::shared, source.start, source.end, mapping.inode(), source.page_offset, tracked, is_whole});
      continue;
    }
    ranges.push_back({source.file == 0 ? Kind::anonymous : Kind::private_file, source.start, source.end, space.id,
                      source.start / kPageSize, tracked, is_whole});
  }
  TRY(space.tracked->set_ranges(std::move(ranges)));
  space.mappings = joined(std::move(mappings));
  space.mapped = true;
  return {};
}

/// The files behind mappings that did not change are part of this epoch too.
void Capturer::recall_inodes(const Space& space, PausedState& state) {
  for (const auto& inode : space.inodes) recall_inode(inode, state);
}

bool Capturer::is_known(const MappedInode& inode) const { return memory_inodes_.contains(inode.object) || inodes_.contains(inode.object); }

void Capturer::recall_inode(const MappedInode& inode, PausedState& state) {
  const posix::ObjectId id = inode.object;
  (void)identities_.of(ObjectKind::inode, inode.address, inode.number);
  if (!state.inodes.try_emplace(inode.address, id).second) return;
  if (memory_inodes_.contains(id)) {
    state.memory_inodes.insert(id);
    state.links[id] = inode.link;
  } else {
    keep_inode(id, state);
    state.recalled.insert(id);
  }
}

Result<void> Capturer::note_mapped_files(const Space& space, const PausedState& state) {
  if (!options_.sync_files) return {};
  for (const auto& inode : space.inodes) {
    if (!inode.written || state.memory_inodes.contains(inode.object)) continue;
    const posix::Inode* record = outside_inode(inode.object, state);
    if (record == nullptr || !S_ISREG(record->mode())) continue;
    TRY(outside_files_.note_mapped({inode.address, inode.number}, inode.link));
  }
  return {};
}

/// The next epoch is taken to be like the last one; of a process that is new everything is read.
void Capturer::reserve_pages() {
  uint64_t pages = last_reading_;
  for (const auto& [mm, space] : spaces_) {
    if (space->stored.page_count() != 0 || cannot_be_read_) continue;
    const auto sizes = read_file(fmt::format("/proc/{}/statm", space->host_pid));
    unsigned long total = 0, resident = 0;
    if (sizes && std::sscanf(sizes->c_str(), "%lu %lu", &total, &resident) == 2) pages += resident;
  }
  page_reader_->reserve(pages);
}

void Capturer::begin_reading_pages(PausedState& state) {
  state.scan_begin_ns = monotonic_ns();
  std::vector<memory::TrackedSpace*> tracked;
  for (auto& [mm, space] : spaces_) tracked.push_back(&*space->tracked);
  page_reader_->begin(std::move(tracked));
}

/// What a scan has told it forgets: all that was read is kept, whatever fails.
Result<void> Capturer::finish_reading_pages(PausedState& state, Figures& figures) {
  auto read = page_reader_->finish();
  last_reading_ = 0;
  figures.scan_ns = read.scanned_ns - state.scan_begin_ns;
  Result<void> result;
  size_t number = 0;
  for (auto& [mm, space] : spaces_) {
    auto& pages = read.spaces[number++];
    const auto taken = pages ? take_pages(*space, std::move(*pages), state) : std::unexpected(std::move(pages.error()));
    if (taken) continue;
    // Without a copy of it, everything counts as written again.
    space->tracked.reset();
    space->mapped = false;
    result = std::unexpected(Error(taken.error()).in(fmt::format("process {}", space->host_pid)));
  }
  if (result && state.mappings_are_outdated) return passing_failure("a stack has grown since the mappings were read", Retry::at_once);
  return result;
}

/// Notes what the space's own pages are now.
Result<void> Capturer::take_pages(Space& space, memory::ReadPages pages, PausedState& state) {
  memory::DirtyPages& dirty = pages.dirty;
  for (const auto& run : dirty.shared_written) written_[run.space].insert({run.first_page, run.count});
  const bool is_new = space.stored.page_count() == 0;
  uint64_t written = 0;
  for (const auto& run : dirty.written) {
    space.stored.insert({run.first_page, run.count});
    written += run.count;
  }
  for (const memory::PageRun& run : dirty.zero) forget_pages(space, run);
  for (const memory::PageRun& run : dirty.strays) TRY(space.tracked->count_as_written(run));
  state.mappings_are_outdated = state.mappings_are_outdated || !dirty.strays.empty();
  space.guards = std::move(dirty.guards);
  if (!is_new) last_reading_ += written;
  state.pages.emplace_back(space.mm, std::move(pages));
  if (!TRY(is_all_there(space, state))) state.presence[space.mm] = TRY(space.tracked->presence());
  return {};
}

/// What was copied becomes part of the next epoch, even if this attempt comes to nothing.
void Capturer::keep_pages(PausedState& state) {
  if (leaves_out_private_pages(options_.disabled_kinds)) return;
  for (auto& [mm, pages] : state.pages) {
    keep_space_pages(*spaces_.at(mm), pages);
    memory::put_pages(std::move(pages), pending_);
  }
}

/// All that the process has of its own was stored or is written: where there is as much, nothing is gone.
Result<bool> Capturer::is_all_there(const Space& space, const PausedState& state) const {
  uint64_t expected = space.stored.page_count();
  for (const Mapping& mapping : space.mappings) {
    if (mapping.special() != Mapping::kVdso) continue;
    // Private, too, and not tracked: who drives the process writes to it.
    using Kind = memory::TrackedRange::Kind;
    for (const auto& run : TRY(space.tracked->own_pages({Kind::private_file, mapping.start(), mapping.end(), space.id, 0}))) expected += run.count;
  }
  const auto* known = state.tasks.address_spaces.find(space.mm);
  return known != nullptr && known->own_pages == expected;
}

void Capturer::forget_pages(Space& space, memory::PageRun pages) {
  for (const memory::PageRun& removed : space.stored.remove(pages)) pending_.erase_pages(space.id, removed.first, removed.count);
}

/// Erases from the store what is no longer there: pages given back, pages that are the file's again, mappings that are gone.
void Capturer::settle_pages(Space& space, const memory::Presence& presence) {
  using memory::PageRun;
  for (const PageRun& run : presence.absent) forget_pages(space, run);
  for (const PageRun& run : space.guards) forget_pages(space, run);
  memory::PageSet unmapped;
  for (const PageRun& run : space.stored.runs()) unmapped.insert(run);
  for (const auto& range : space.tracked->ranges()) {
    if (range.kind == memory::TrackedRange::Kind::anonymous) unmapped.remove({range.start / kPageSize, (range.end - range.start) / kPageSize});
  }
  for (const PageRun& run : presence.private_copies) unmapped.remove(run);
  for (const PageRun& run : unmapped.runs()) forget_pages(space, run);
}

}  // namespace perdure::capture
