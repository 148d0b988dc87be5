// Pages and aligned memory.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

namespace perdure {

inline constexpr size_t kPageSize = 4096;
inline constexpr unsigned kPageShift = 12;

constexpr uint64_t align_up(uint64_t value, uint64_t alignment) { return (value + alignment - 1) & ~(alignment - 1); }
constexpr uint64_t align_down(uint64_t value, uint64_t alignment) { return value & ~(alignment - 1); }

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};
/// Page-aligned heap memory, fit for O_DIRECT.
using AlignedBytes = std::unique_ptr<std::byte[], FreeDeleter>;

/// `size` uninitialised bytes on a page boundary; null when memory is short.
inline AlignedBytes allocate_aligned(size_t size) {
  constexpr size_t kHugePageSize = size_t{2} << 20;
  // The first writes to much memory cost more than what is written; and a disk takes half as long again for memory that is scattered.
  const size_t alignment = size < kHugePageSize / 2 ? kPageSize : kHugePageSize;
  AlignedBytes memory(static_cast<std::byte*>(std::aligned_alloc(alignment, align_up(size, alignment))));
  if (alignment == kHugePageSize && memory != nullptr) (void)::madvise(memory.get(), align_up(size, alignment), MADV_HUGEPAGE);
  return memory;
}

}  // namespace perdure
