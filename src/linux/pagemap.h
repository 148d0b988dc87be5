// Which pages were written: the PAGEMAP_SCAN ioctl (Documentation/admin-guide/mm/pagemap.rst).
#pragma once

#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "linux/uapi.h"

namespace perdure {

using linux_uapi::PageRegion;

/// What a scan selects. A page matches when all of `required` (after inverting `inverted`) and, if `any_of` is not 0, one of
/// `any_of` hold; its categories are reported masked by `reported`.
struct PageSelection {
  uint64_t required = 0;
  uint64_t inverted = 0;
  uint64_t any_of = 0;
  uint64_t reported = 0;
  bool protect = false;  ///< re-arm write protection on the matching pages, atomically with reading them
};

/// Opens /proc/PID/pagemap of a process.
Result<Fd> open_pagemap(int pid);

/// Appends the matching regions of [start, end) to `regions`. Adjacent pages of equal categories make one region.
Result<void> scan_pages(int pagemap, uint64_t start, uint64_t end, const PageSelection& selection,
                        std::vector<PageRegion>& regions);

}  // namespace perdure
