// Copying ahead of the pause what was written until then, while the group runs.
#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>

#include "capture/internal.h"
#include "capture/mutation.h"

namespace perdure::capture {

namespace {

/// Fewer are copied in the pause in about the time that the rest of it takes.
constexpr uint64_t kAheadPagesMin = 256;
/// To protect pages of a running program interrupts it once for each unit that a page table maps: too dear for scattered ones.
constexpr uint64_t kAheadPagesAUnit = 4;
constexpr unsigned kUnitShift = 9;
constexpr int kRestMax = 256;

uint64_t count_pages(const std::vector<memory::DirtyPages::Run>& runs) {
  uint64_t count = 0;
  for (const auto& run : runs) count += run.count;
  return count;
}

/// `runs` ascend.
uint64_t count_units(const std::vector<memory::DirtyPages::Run>& runs) {
  uint64_t count = 0;
  uint64_t last = UINT64_MAX;
  for (const auto& run : runs) {
    const uint64_t end = (run.first_page + run.count - 1) >> kUnitShift;
    count += end - (run.first_page >> kUnitShift) + (run.first_page >> kUnitShift == last ? 0 : 1);
    last = end;
  }
  return count;
}

bool contains(const std::vector<memory::DirtyPages::Run>& ascending, uint64_t page) {
  const auto next = std::ranges::upper_bound(ascending, page, {}, &memory::DirtyPages::Run::first_page);
  return next != ascending.begin() && std::prev(next)->first_page + std::prev(next)->count > page;
}

}  // namespace

/// The kernel writes to a page by its address in physical memory, too: what it pinned before the scan it may fill after the copy, unseen. O_DIRECT reads do
/// (see check_direct_files()), asleep in the state of those that wait for a disk, and process_vm_writev(2).
bool Capturer::may_pin_pages() {
  constexpr uint32_t kTaskUninterruptible = 0x2;
  const auto threads = collector_.tasks_brief();
  return !threads || std::ranges::any_of(*threads, [](const posix::ThreadBrief& thread) {
    return !is_dead(thread) && ((thread.state & kTaskUninterruptible) != 0 || thread.orig_ax == SYS_process_vm_writev);
  });
}

bool Capturer::is_worth_copying_ahead(Space& space) const {
  if (space.rest > 0) {
    --space.rest;
    return false;
  }
  if (!space.tracked || !space.mapped || space.written_pages < kAheadPagesMin || space.written_pages < kAheadPagesAUnit * space.written_units) return false;
  return std::ranges::any_of(present_, [&](const posix::ThreadBrief& thread) {
    return thread.mm == space.mm && static_cast<pid_t>(thread.host_tid) == space.host_pid && !is_dead(thread);
  });
}

/// What is written to again is found and copied once more in the pause. Forks meanwhile: see adopt_fork().
void Capturer::copy_ahead() {
  if (has_direct_files_ || cannot_be_read_ || leaves_out_private_pages(options_.disabled_kinds)) return;
  std::vector<Space*> chosen;
  std::vector<memory::TrackedSpace*> tracked;
  for (auto& [mm, space] : spaces_) {
    keep_ahead(*space, {});
    if (!is_worth_copying_ahead(*space)) continue;
    chosen.push_back(space.get());
    tracked.push_back(&*space->tracked);
  }
  if (chosen.empty()) return;
  auto read = page_reader_->read_running(std::move(tracked), [this] { return !may_pin_pages(); });
  for (size_t number = 0; number < chosen.size(); ++number) {
    Space& space = *chosen[number];
    if (read[number] && take_ahead(space, std::move(*read[number]))) continue;
    // What was armed is not known: everything counts as written again.
    space.tracked.reset();
    space.mapped = false;
  }
}

Result<void> Capturer::take_ahead(Space& space, memory::ReadPages pages) {
  for (const auto& run : pages.dirty.shared_written) written_[run.space].insert({run.first_page, run.count});
  for (const memory::PageRun& run : pages.dirty.zero) {
    space.unsure.push_back(run);
    forget_pages(space, run);
  }
  std::vector<memory::PageRun> uncopied = std::move(pages.dirty.strays);
  for (const auto& run : pages.lost) uncopied.push_back({run.first_page, run.count});
  for (const memory::PageRun& run : uncopied) {
    space.unsure.push_back(run);
    TRY(space.tracked->count_as_written(run));
  }
  for (const auto& run : pages.dirty.written) {
    space.unchecked.push_back({run.first_page, run.count});
    space.unsure.push_back({run.first_page, run.count});
    space.stored.insert({run.first_page, run.count});
  }
  space.ahead = std::move(pages);
  return {};
}

/// What was copied ahead, and is not gone or copied again since, becomes part of the next epoch.
void Capturer::keep_ahead(Space& space, const std::vector<memory::DirtyPages::Run>& since) {
  memory::ReadPages pages = std::exchange(space.ahead, {});
  const uint64_t copied = count_pages(pages.dirty.written);
  if (copied == 0) return;
  const uint64_t kept = memory::put_pages(std::move(pages), pending_, [&](uint64_t page) { return space.stored.contains(page) && !contains(since, page); });
  // Pages that are hot are copied twice for nothing.
  const bool was_wasted = kept < copied / 2;
  space.next_rest = was_wasted ? std::clamp(space.next_rest * 2, 8, kRestMax) : 0;
  space.rest = space.next_rest;
}

/// What was found in the pause, after what was copied ahead of it.
void Capturer::keep_space_pages(Space& space, const memory::ReadPages& pages) {
  const auto& written = pages.dirty.written;
  space.written_pages = count_pages(written) + count_pages(space.ahead.dirty.written);
  space.written_units = 0;
  if (space.written_pages >= kAheadPagesMin) space.written_units = std::max(count_units(written), count_units(space.ahead.dirty.written));
  last_reading_ += count_pages(space.ahead.dirty.written);
  keep_ahead(space, written);
}

/// A group with files that are read past the page cache is not copied ahead, and what was is of no use.
Result<void> Capturer::check_direct_files(const PausedState& state) {
  // A pipe of packets has the flag, too.
  const auto is_direct = [](const posix::FileRecord* file) { return (file->flags & O_DIRECT) != 0 && !S_ISFIFO(file->inode_mode); };
  const auto has_direct = [&](const auto& table) { return std::ranges::any_of(table.second.files, is_direct); };
  has_direct_files_ = has_direct_files_ || std::ranges::any_of(state.tables, has_direct);
  bool is_of_use = true;
  for (auto& [mm, space] : spaces_) {
    const auto unchecked = std::exchange(space->unchecked, {});
    if (!has_direct_files_) continue;
    for (const memory::PageRun& run : unchecked) TRY(space->tracked->count_as_written(run));
    is_of_use = is_of_use && unchecked.empty();
  }
  if (is_of_use) return {};
  return passing_failure("memory was copied ahead that the kernel may have written to unseen", Retry::at_once);
}

}  // namespace perdure::capture
