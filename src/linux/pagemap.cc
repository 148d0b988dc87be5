#include "linux/pagemap.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>

namespace perdure {

Result<Fd> open_pagemap(int pid) {
  const std::string path = fmt::format("/proc/{}/pagemap", pid);
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_error("open " + path);
  return fd;
}

Result<void> scan_pages(int pagemap, uint64_t start, uint64_t end, const PageSelection& selection,
                        std::vector<PageRegion>& regions) {
  std::array<PageRegion, 1024> batch;
  linux_uapi::PagemapScanArguments arguments{};
  arguments.size = sizeof arguments;
  arguments.flags = selection.protect ? linux_uapi::kScanWriteProtectMatching : 0;
  arguments.end = end;
  arguments.regions = reinterpret_cast<uint64_t>(batch.data());
  arguments.region_count = batch.size();
  arguments.category_inverted = selection.inverted;
  arguments.category_mask = selection.required;
  arguments.category_anyof_mask = selection.any_of;
  arguments.return_mask = selection.reported;
  for (uint64_t position = start; position < end;) {
    arguments.start = position;
    const int found = ioctl(pagemap, linux_uapi::kPagemapScan, &arguments);
    if (found < 0) return system_error(fmt::format("scan pages {:x}-{:x} (PAGEMAP_SCAN)", position, end));
    regions.insert(regions.end(), batch.begin(), batch.begin() + found);
    if (arguments.walk_end <= position) break;
    position = arguments.walk_end;
  }
  return {};
}

}  // namespace perdure
