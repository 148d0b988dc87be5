// Flags of a thread (the kernel's TIF_*) whose numbers differ between kernels, and that no type information names.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"

namespace perdure::posix {

/// Bits of thread_info.flags; 0 where this machine cannot deny what the bit is about.
struct ThreadFlags {
  uint64_t time_stamp_denied = 0;  ///< PR_SET_TSC
  uint64_t cpuid_denied = 0;       ///< ARCH_SET_CPUID
};

/// Finds them by what changes in the flags of a thread of ours that has itself denied each, and ends. `read` gives the flags of the thread
/// that calls it, and must execute neither RDTSC nor CPUID.
Result<ThreadFlags> find_thread_flags(const std::function<Result<uint64_t>()>& read);

}  // namespace perdure::posix
