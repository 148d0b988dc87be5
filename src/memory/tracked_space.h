// One address space whose writes the kernel notes for us.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "linux/pagemap.h"
#include "linux/ptrace.h"
#include "memory/fork_watch.h"
#include "memory/page_runs.h"
#include "store/changes.h"

namespace perdure::memory {

/// Where the contents of a stretch of addresses belong.
struct TrackedRange {
  enum class Kind : uint8_t {
    anonymous,     ///< private anonymous memory: absent pages read as zero
    private_file,  ///< private file mapping: only pages that were written to are the store's
    shared,        ///< shared memory whose contents are an inode's
  };
  Kind kind;
  uint64_t start;  ///< addresses
  uint64_t end;
  store::SpaceId space;   ///< of the contents
  uint64_t first_page;    ///< page number of `start` in that space
  bool tracked = false;   ///< known to be registered with the space's userfaultfd
  bool is_whole = false;  ///< has large pages that may not be scanned in part (hugetlb)
};

/// What one scan found, in pages of the address space.
struct DirtyPages {
  struct Run {
    uint64_t address;
    uint64_t count;
    store::SpaceId space;
    uint64_t first_page;
  };
  std::vector<Run> written;         ///< of the private ranges
  std::vector<Run> shared_written;  ///< of the others: their contents are for whoever keeps the inode's
  std::vector<PageRun> zero;        ///< of anonymous ranges: pages that read as zero again since the last scan
  std::vector<PageRun> guards;      ///< MADV_GUARD_INSTALL
  std::vector<PageRun> strays;      ///< protected now, too, but of no range: a stack has grown since those were set. To count as written.

  void append(const DirtyPages& later);
};

/// What is there and what is not, whenever it came or went.
struct Presence {
  std::vector<PageRun> absent;          ///< of anonymous ranges: pages that are not there
  std::vector<PageRun> private_copies;  ///< of private file ranges: pages that are the process's own
};

/// Write tracking of one mm_struct. The descriptor it holds keeps the kernel's tracking alive; when it goes, the process runs on untracked.
class TrackedSpace {
 public:
  /// By way of a stopped thread of the process: see open_remote_userfaultfd(). `watch` tells of its forks from then on.
  static Result<TrackedSpace> begin(TracedThread& thread, pid_t host_pid, uint64_t vdso, uint64_t syscall_address, ForkWatch& watch);
  /// Takes over tracking that a fork handed to the child: its first scan finds what either of them wrote since the parent's last one and before the
  /// fork, and what the child wrote after it.
  static Result<TrackedSpace> adopt(ForkWatch::Watched userfaultfd, pid_t host_pid);

  /// Says what is mapped now. Registers what is not tracked yet; it then counts as written.
  Result<void> set_ranges(std::vector<TrackedRange> ranges);
  /// Whether set_ranges() has failed half way, so that what was written may not be found: to be tracked by another one.
  bool is_unsound() const { return is_unsound_; }
  const std::vector<TrackedRange>& ranges() const { return ranges_; }

  /// Finds what was written since the last scan, and re-arms. The process must not run meanwhile. Pages that were given back (MADV_DONTNEED, munmap)
  /// are not among them.
  Result<DirtyPages> scan();
  /// The same in parts, by any threads at a time: each of stretches() once, then end_scan() with all guards that were found.
  struct Stretch {
    uint64_t start, end;  ///< addresses
  };
  const std::vector<Stretch>& stretches() const { return stretches_; }
  Result<DirtyPages> scan(Stretch stretch) const;
  void end_scan(const std::vector<PageRun>& guards) { has_guards_ = !guards.empty(); }
  /// Has these pages count as written, as far as they are there and tracked still. The process may run.
  Result<void> count_as_written(PageRun pages) const;

  /// Finds what was given back, too: dearer, and needless where the process has as many pages of its own as are known of it.
  Result<Presence> presence() const;

  /// The pages of a private range that are the process's own: there, and not a file's.
  Result<std::vector<PageRun>> own_pages(const TrackedRange& range) const;

  int userfaultfd() const { return userfaultfd_.userfaultfd(); }
  const ForkWatch::Watched& watched() const { return userfaultfd_; }
  pid_t host_pid() const { return host_pid_; }

 private:
  TrackedSpace(ForkWatch::Watched userfaultfd, Fd pagemap, pid_t host_pid);
  Result<void> scan_guards(Stretch stretch, DirtyPages& dirty) const;
  std::span<const TrackedRange> ranges_in(Stretch stretch) const;
  Result<void> scan_private(Stretch stretch, DirtyPages& dirty) const;
  Result<void> add_private(const TrackedRange& range, uint64_t start, uint64_t end, uint64_t categories, DirtyPages& dirty) const;
  Result<void> add_swapped(const PageRegion& region, std::vector<PageRun>& pages) const;
  Result<void> scan_shared(const TrackedRange& range, Stretch stretch, DirtyPages& dirty) const;

  ForkWatch::Watched userfaultfd_;
  Fd pagemap_;
  pid_t host_pid_;
  uint64_t guard_category_ = 0;  ///< PAGE_IS_GUARD where the kernel has it
  bool has_guards_ = true;       ///< as far as is known
  bool is_unsound_ = false;
  std::vector<TrackedRange> ranges_;
  std::vector<Stretch> stretches_;  ///< of ranges_
};

}  // namespace perdure::memory
