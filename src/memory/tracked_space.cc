#include "memory/tracked_space.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/bytes.h"
#include "linux/process.h"
#include "linux/remote_userfaultfd.h"
#include "linux/userfaultfd.h"

namespace perdure::memory {

namespace {

namespace uapi = linux_uapi;

}  // namespace

void DirtyPages::append(const DirtyPages& later) {
  written.insert(written.end(), later.written.begin(), later.written.end());
  shared_written.insert(shared_written.end(), later.shared_written.begin(), later.shared_written.end());
  zero.insert(zero.end(), later.zero.begin(), later.zero.end());
  guards.insert(guards.end(), later.guards.begin(), later.guards.end());
  strays.insert(strays.end(), later.strays.begin(), later.strays.end());
}

TrackedSpace::TrackedSpace(ForkWatch::Watched userfaultfd, Fd pagemap, pid_t host_pid)
    : userfaultfd_(std::move(userfaultfd)), pagemap_(std::move(pagemap)), host_pid_(host_pid) {
  // Kernels before 6.15 do not know the category, and refuse it.
  std::vector<PageRegion> none;
  const PageSelection probe{.required = uapi::kPageIsGuard, .inverted = 0, .any_of = 0, .reported = 0, .protect = false};
  if (scan_pages(pagemap_.get(), 0, kPageSize, probe, none)) guard_category_ = uapi::kPageIsGuard;
}

Result<TrackedSpace> TrackedSpace::begin(TracedThread& thread, pid_t host_pid, uint64_t vdso, uint64_t syscall_address,
                                         ForkWatch& watch) {
  Fd userfaultfd = TRY(open_remote_userfaultfd(thread, host_pid, vdso, syscall_address));
  TRY(enable_write_tracking(userfaultfd.get()));
  Fd pagemap = TRY(open_pagemap(host_pid));
  return TrackedSpace(TRY(watch.watch(std::move(userfaultfd))), std::move(pagemap), host_pid);
}

Result<TrackedSpace> TrackedSpace::adopt(ForkWatch::Watched userfaultfd, pid_t host_pid) {
  return TrackedSpace(std::move(userfaultfd), TRY(open_pagemap(host_pid)), host_pid);
}

namespace {

/// Cuts ascending ranges into parts of about the same size, for two to share. No huge page is cut.
std::vector<TrackedSpace::Stretch> stretches_of(std::span<const TrackedRange> ranges) {
  constexpr uint64_t kStretchMin = uint64_t{256} << 20;
  constexpr uint64_t kStretchesMax = 256;
  constexpr uint64_t kHugePageSize = uint64_t{2} << 20;
  uint64_t total = 0;
  for (const TrackedRange& range : ranges) total += range.end - range.start;
  const uint64_t size = std::max(kStretchMin, total / kStretchesMax);
  std::vector<TrackedSpace::Stretch> stretches;
  uint64_t room = 0;
  for (const TrackedRange& range : ranges) {
    for (uint64_t start = range.start; start < range.end;) {
      if (room == 0) {
        stretches.push_back({start, start});
        room = size;
      }
      const bool fits = range.is_whole || range.end - start <= room;
      const uint64_t end = fits ? range.end : std::min(range.end, align_up(start + room, kHugePageSize));
      stretches.back().end = end;
      room -= std::min(room, end - start);
      start = end;
    }
  }
  return stretches;
}

}  // namespace

Result<void> TrackedSpace::set_ranges(std::vector<TrackedRange> ranges) {
  for (const TrackedRange& range : ranges) {
    if (range.tracked) continue;
    if (!TRY(register_write_tracking(userfaultfd_.userfaultfd(), range.start, range.end))) {
      return failure(fmt::format("mapping {:x}-{:x}: the kernel cannot track writes to it", range.start, range.end));
    }
    // mremap(2) takes the tracking from what it moves, and from the neighbour that it makes one with that: there the pages stay armed, and
    // hide what was written to them since.
    is_unsound_ = true;
    TRY(perdure::count_as_written(userfaultfd_.userfaultfd(), range.start, range.end));
    is_unsound_ = false;
  }
  ranges_ = std::move(ranges);
  stretches_ = stretches_of(ranges_);
  return {};
}

namespace {

/// Calls visit(ranges) for each stretch of neighbours that are private, gaps between them included.
template <typename Visit>
Result<void> for_private_neighbours(std::span<const TrackedRange> ranges, Visit visit) {
  const auto is_shared = [](const TrackedRange& range) { return range.kind == TrackedRange::Kind::shared; };
  for (auto first = ranges.begin(); first != ranges.end();) {
    const auto end = std::find_if(first, ranges.end(), is_shared);
    if (end != first) TRY(visit(std::span(first, end)));
    first = std::find_if_not(end, ranges.end(), is_shared);
  }
  return {};
}

}  // namespace

Result<DirtyPages> TrackedSpace::scan() {
  DirtyPages all;
  for (const Stretch stretch : stretches_) all.append(TRY(scan(stretch)));
  end_scan(all.guards);
  return all;
}

std::span<const TrackedRange> TrackedSpace::ranges_in(Stretch stretch) const {
  const auto first = std::ranges::upper_bound(ranges_, stretch.start, {}, &TrackedRange::end);
  const auto end = std::ranges::lower_bound(first, ranges_.end(), stretch.end, {}, &TrackedRange::start);
  return {first, end};
}

Result<DirtyPages> TrackedSpace::scan(Stretch stretch) const {
  DirtyPages dirty;
  const auto ranges = ranges_in(stretch);
  TRY(for_private_neighbours(ranges, [&](std::span<const TrackedRange> neighbours) {
    return scan_private({std::max(stretch.start, neighbours.front().start), std::min(stretch.end, neighbours.back().end)}, dirty);
  }));
  for (const TrackedRange& range : ranges) {
    if (range.kind != TrackedRange::Kind::shared) continue;
    TRY(scan_shared(range, {std::max(stretch.start, range.start), std::min(stretch.end, range.end)}, dirty));
  }
  return dirty;
}

namespace {

/// Calls visit(range, start, end) for the part of `region` in each of the ascending `ranges`.
template <typename Visit>
void split(std::span<const TrackedRange> ranges, const PageRegion& region, Visit visit) {
  auto range = std::ranges::upper_bound(ranges, region.start, {}, &TrackedRange::end);
  for (; range != ranges.end() && range->start < region.end; ++range) {
    visit(*range, std::max(range->start, region.start), std::min(range->end, region.end));
  }
}

PageRun pages_of(uint64_t start, uint64_t end) { return {start / kPageSize, (end - start) / kPageSize}; }

/// The parts of `region` that are in none of the ascending `ranges`.
void add_strays(std::span<const TrackedRange> ranges, const PageRegion& region, std::vector<PageRun>& strays) {
  uint64_t seen_end = region.start;
  split(ranges, region, [&](const TrackedRange&, uint64_t from, uint64_t to) {
    if (from > seen_end) strays.push_back(pages_of(seen_end, from));
    seen_end = to;
  });
  if (seen_end < region.end) strays.push_back(pages_of(seen_end, region.end));
}

}  // namespace

Result<void> TrackedSpace::scan_private(Stretch stretch, DirtyPages& dirty) const {
  std::vector<PageRegion> regions;
  const uint64_t there = uapi::kPageIsPresent | uapi::kPageIsSwapped;
  // The kernel has a shorter way where only PAGE_IS_WRITTEN is asked for, in less than half of the time (pagemap_scan_pmd_entry): it takes what is not
  // there, a guard marker or a page that is being migrated, for protected by chance.
  TRY(scan_pages(pagemap_.get(), stretch.start, stretch.end,
                 {.required = uapi::kPageIsWritten | uapi::kPageIsWpAllowed,
                  .inverted = 0,
                  .any_of = there,
                  // Whose a page is (PAGE_IS_FILE) stands in its struct page: to ask that of each makes the scan ten times as long.
                  .reported = uapi::kPageIsPfnZero | guard_category_,
                  .protect = true},
                 regions));
  bool has_guards = has_guards_;
  for (const PageRegion& region : regions) {
    // A guard marker looks like a swapped page, and is new when it counts as written. That one is gone again nothing tells.
    if ((region.categories & guard_category_) != 0) {
      has_guards = true;
      continue;
    }
    Result<void> added;
    const auto ranges = ranges_in({region.start, region.end});
    add_strays(ranges, region, dirty.strays);
    split(ranges, region, [&](const TrackedRange& range, uint64_t from, uint64_t to) {
      if (added) added = add_private(range, from, to, region.categories, dirty);
    });
    TRY(std::move(added));
  }
  return has_guards ? scan_guards(stretch, dirty) : Result<void>{};
}

Result<void> TrackedSpace::add_private(const TrackedRange& range, uint64_t start, uint64_t end, uint64_t categories, DirtyPages& dirty) const {
  const auto add = [&](uint64_t from, uint64_t count) {
    dirty.written.push_back({from, count, range.space, range.first_page + (from - range.start) / kPageSize});
  };
  if (range.kind == TrackedRange::Kind::private_file) {
    // A page of a private file mapping that is still the file's is nobody's but the file's.
    for (const PageRun& run : TRY(own_pages({range.kind, start, end, range.space, 0}))) add(run.first * kPageSize, run.count);
  } else if ((categories & uapi::kPageIsPfnZero) != 0) {
    dirty.zero.push_back(pages_of(start, end));
  } else {
    add(start, (end - start) / kPageSize);
  }
  return {};
}

Result<void> TrackedSpace::count_as_written(PageRun pages) const {
  const auto mark = [&](uint64_t first, uint64_t end) { return perdure::count_as_written(userfaultfd_.userfaultfd(), first * kPageSize, end * kPageSize); };
  if (mark(pages.first, pages.end())) return {};
  // Some may be mapped no more, or anew: what is not tracked counts as written anyway.
  for (uint64_t page = pages.first; page < pages.end(); ++page) {
    auto marked = mark(page, page + 1);
    if (!marked && marked.error().error_number != ENOENT) return marked;
  }
  return {};
}

Result<Presence> TrackedSpace::presence() const {
  Presence presence;
  const uint64_t there = uapi::kPageIsPresent | uapi::kPageIsSwapped;
  TRY(for_private_neighbours(ranges_, [&](std::span<const TrackedRange> ranges) -> Result<void> {
    std::vector<PageRegion> regions;
    TRY(scan_pages(pagemap_.get(), ranges.front().start, ranges.back().end,
                   {.required = there, .inverted = there, .any_of = 0, .reported = 0, .protect = false}, regions));
    for (const PageRegion& region : regions) {
      split(ranges, region, [&](const TrackedRange& range, uint64_t from, uint64_t to) {
        if (range.kind == TrackedRange::Kind::anonymous) presence.absent.push_back(pages_of(from, to));
      });
    }
    for (const TrackedRange& range : ranges) {
      if (range.kind != TrackedRange::Kind::private_file) continue;
      for (const PageRun& run : TRY(own_pages(range))) presence.private_copies.push_back(run);
    }
    return {};
  }));
  return presence;
}

Result<std::vector<PageRun>> TrackedSpace::own_pages(const TrackedRange& range) const {
  const bool of_file = range.kind == TrackedRange::Kind::private_file;
  const uint64_t unwanted = guard_category_ | (of_file ? uapi::kPageIsFile : 0);
  std::vector<PageRegion> regions;
  TRY(scan_pages(pagemap_.get(), range.start, range.end,
                 {.required = unwanted,
                  .inverted = unwanted,
                  .any_of = uapi::kPageIsPresent | uapi::kPageIsSwapped,
                  .reported = uapi::kPageIsSwapped,
                  .protect = false},
                 regions));
  std::vector<PageRun> pages;
  for (const PageRegion& region : regions) {
    if (of_file && (region.categories & uapi::kPageIsSwapped) != 0) TRY(add_swapped(region, pages));
    else pages.push_back(pages_of(region.start, region.end));
  }
  return pages;
}

/// Where an armed page of the process's own was given back, a marker keeps the arming, and looks like a swapped page.
Result<void> TrackedSpace::add_swapped(const PageRegion& region, std::vector<PageRun>& pages) const {
  constexpr uint64_t kSwapTypeMask = 0x1f;
  constexpr uint64_t kMarkerType = 0x1f;  // SWP_PTE_MARKER (include/linux/swap.h): the last type there is
  std::vector<uint64_t> entries((region.end - region.start) / kPageSize);
  const auto bytes = static_cast<ssize_t>(entries.size() * sizeof(uint64_t));
  const auto offset = static_cast<off_t>(region.start / kPageSize * sizeof(uint64_t));
  if (::pread(pagemap_.get(), entries.data(), static_cast<size_t>(bytes), offset) != bytes) return system_error("read pagemap");
  for (size_t i = 0; i < entries.size(); ++i) {
    if ((entries[i] & kSwapTypeMask) != kMarkerType) pages.push_back({region.start / kPageSize + i, 1});
  }
  return {};
}

/// In two passes: what is there, which may be being migrated, is only told by the long way; and only by the short one that a page that may have been written
/// is mapped no longer. A page table entry that was empty when the first pass met it hides nothing from the second.
Result<void> TrackedSpace::scan_shared(const TrackedRange& range, Stretch stretch, DirtyPages& dirty) const {
  std::vector<PageRegion> regions;
  for (const uint64_t any_of : {uint64_t{uapi::kPageIsPresent | uapi::kPageIsSwapped}, uint64_t{0}}) {
    TRY(scan_pages(pagemap_.get(), stretch.start, stretch.end,
                   {.required = uapi::kPageIsWritten, .inverted = 0, .any_of = any_of, .reported = uapi::kPageIsWritten, .protect = true}, regions));
  }
  for (const PageRegion& region : regions) {
    dirty.shared_written.push_back({region.start, (region.end - region.start) / kPageSize, range.space,
                                    range.first_page + (region.start - range.start) / kPageSize});
  }
  return scan_guards(stretch, dirty);
}

/// Guard markers: what was there is gone.
Result<void> TrackedSpace::scan_guards(Stretch stretch, DirtyPages& dirty) const {
  if (guard_category_ == 0) return {};
  std::vector<PageRegion> regions;
  TRY(scan_pages(pagemap_.get(), stretch.start, stretch.end,
                 {.required = guard_category_, .inverted = 0, .any_of = 0, .reported = 0, .protect = false}, regions));
  for (const PageRegion& region : regions) {
    dirty.guards.push_back(pages_of(region.start, region.end));
  }
  return {};
}

}  // namespace perdure::memory
