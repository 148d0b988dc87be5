// Kernel interface declarations that linux-libc-dev 6.1 lacks (values from include/uapi of Linux 6.7 and later).
#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace perdure::linux_uapi {

// include/uapi/linux/fs.h: PAGEMAP_SCAN, on a descriptor of /proc/PID/pagemap.
inline constexpr uint64_t kPageIsWpAllowed = 1 << 0;
inline constexpr uint64_t kPageIsWritten = 1 << 1;
inline constexpr uint64_t kPageIsFile = 1 << 2;
inline constexpr uint64_t kPageIsPresent = 1 << 3;
inline constexpr uint64_t kPageIsSwapped = 1 << 4;
inline constexpr uint64_t kPageIsPfnZero = 1 << 5;
inline constexpr uint64_t kPageIsHuge = 1 << 6;
inline constexpr uint64_t kPageIsGuard = 1 << 8;

inline constexpr uint64_t kScanWriteProtectMatching = 1 << 0;
inline constexpr uint64_t kScanCheckWpAsync = 1 << 1;

struct PageRegion {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};

struct PagemapScanArguments {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t regions;
  uint64_t region_count;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};
inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScanArguments);

// include/uapi/linux/userfaultfd.h
inline constexpr uint64_t kUffdFeatureWpHugetlbfsShmem = 1ull << 12;
inline constexpr uint64_t kUffdFeatureWpUnpopulated = 1ull << 13;
inline constexpr uint64_t kUffdFeatureWpAsync = 1ull << 15;

// include/uapi/asm-generic/mman-common.h
inline constexpr int kMadviseGuardInstall = 102;
inline constexpr long kSysMseal = 462;

}  // namespace perdure::linux_uapi
