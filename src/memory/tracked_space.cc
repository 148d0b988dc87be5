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

Result<void> TrackedSpace::set_ranges(std::vector<TrackedRange> ranges) {
  for (const TrackedRange& range : ranges) {
    if (range.tracked) continue;
    if (!TRY(register_write_tracking(userfaultfd_.userfaultfd(), range.start, range.end))) {
      return failure(fmt::format("mapping {:x}-{:x}: the kernel cannot track writes to it", range.start, range.end));
    }
    // mremap(2) takes the tracking from what it moves, and from the neighbour that it makes one with that: there the pages stay armed, and
    // hide what was written to them since.
    is_unsound_ = true;
    TRY(count_as_written(userfaultfd_.userfaultfd(), range.start, range.end));
    is_unsound_ = false;
  }
  ranges_ = std::move(ranges);
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
  DirtyPages dirty;
  TRY(for_private_neighbours(ranges_, [&](std::span<const TrackedRange> ranges) { return scan_private(ranges, dirty); }));
  for (const TrackedRange& range : ranges_) {
    if (range.kind == TrackedRange::Kind::shared) TRY(scan_shared(range, dirty));
  }
  has_guards_ = !dirty.guards.empty();
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

}  // namespace

Result<void> TrackedSpace::scan_private(std::span<const TrackedRange> ranges, DirtyPages& dirty) {
  const uint64_t start = ranges.front().start;
  const uint64_t end = ranges.back().end;
  std::vector<PageRegion> regions;
  const uint64_t there = uapi::kPageIsPresent | uapi::kPageIsSwapped;
  TRY(scan_pages(pagemap_.get(), start, end,
                 {.required = uapi::kPageIsWritten | uapi::kPageIsWpAllowed,
                  .inverted = 0,
                  .any_of = there,
                  // Whose a page is (PAGE_IS_FILE) stands in its struct page: to ask that of each makes the scan ten times as long.
                  .reported = uapi::kPageIsPfnZero | guard_category_,
                  .protect = true},
                 regions));
  for (const PageRegion& region : regions) {
    // A guard marker looks like a swapped page, and is new when it counts as written. That one is gone again nothing tells.
    if ((region.categories & guard_category_) != 0) {
      has_guards_ = true;
      continue;
    }
    Result<void> added;
    split(ranges, region, [&](const TrackedRange& range, uint64_t from, uint64_t to) {
      if (added) added = add_private(range, from, to, region.categories, dirty);
    });
    TRY(std::move(added));
  }
  return has_guards_ ? scan_guards(start, end, dirty) : Result<void>{};
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

Result<void> TrackedSpace::scan_shared(const TrackedRange& range, DirtyPages& dirty) {
  std::vector<PageRegion> regions;
  TRY(scan_pages(pagemap_.get(), range.start, range.end,
                 {.required = uapi::kPageIsWritten,
                  .inverted = 0,
                  .any_of = 0,
                  .reported = uapi::kPageIsWritten,
                  .protect = true},
                 regions));
  for (const PageRegion& region : regions) {
    dirty.shared_written.push_back({region.start, (region.end - region.start) / kPageSize, range.space,
                                    range.first_page + (region.start - range.start) / kPageSize});
  }
  return scan_guards(range.start, range.end, dirty);
}

/// Guard markers: what was there is gone.
Result<void> TrackedSpace::scan_guards(uint64_t start, uint64_t end, DirtyPages& dirty) {
  if (guard_category_ == 0) return {};
  std::vector<PageRegion> regions;
  TRY(scan_pages(pagemap_.get(), start, end,
                 {.required = guard_category_, .inverted = 0, .any_of = 0, .reported = 0, .protect = false}, regions));
  for (const PageRegion& region : regions) {
    dirty.guards.push_back(pages_of(region.start, region.end));
  }
  return {};
}

}  // namespace perdure::memory
