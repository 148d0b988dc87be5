#include "linux/pagemap.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

namespace perdure {

Result<Fd> open_pagemap(int pid) {
  const std::string path = fmt::format("/proc/{}/pagemap", pid);
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_error("open " + path);
  return fd;
}

Result<uint64_t> scan_pages_until(int pagemap, uint64_t start, uint64_t end, const PageSelection& selection, size_t region_max,
                                  std::vector<PageRegion>& regions) {
  std::array<PageRegion, 1024> batch;
  linux_uapi::PagemapScanArguments arguments{};
  arguments.size = sizeof arguments;
  arguments.flags = selection.protect ? linux_uapi::kScanWriteProtectMatching : 0;
  arguments.end = end;
  arguments.regions = reinterpret_cast<uint64_t>(batch.data());
  arguments.region_count = std::min(batch.size(), region_max);
  arguments.category_inverted = selection.inverted;
  arguments.category_mask = selection.required;
  arguments.category_anyof_mask = selection.any_of;
  arguments.return_mask = selection.reported;
  uint64_t position = start;
  for (size_t count = 0; position < end && count < region_max;) {
    arguments.start = position;
    const int found = ioctl(pagemap, linux_uapi::kPagemapScan, &arguments);
    if (found < 0) return system_error(fmt::format("scan pages {:x}-{:x} (PAGEMAP_SCAN)", position, end));
    regions.insert(regions.end(), batch.begin(), batch.begin() + found);
    if (arguments.walk_end <= position) return end;
    position = arguments.walk_end;
    count += static_cast<size_t>(found);
  }
  return position;
}

Result<void> scan_pages(int pagemap, uint64_t start, uint64_t end, const PageSelection& selection, std::vector<PageRegion>& regions) {
  TRY(scan_pages_until(pagemap, start, end, selection, std::numeric_limits<size_t>::max(), regions));
  return {};
}

}  // namespace perdure
