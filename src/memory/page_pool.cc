#include "memory/page_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace perdure::memory {

namespace {

constexpr uint64_t kSlackPages = 4096;
constexpr size_t kSlabSize = PagePool::kSlabPages * kPageSize;

}  // namespace

void PagePool::reserve(uint64_t pages) {
  const size_t wanted = std::max<size_t>(1, align_up(pages + std::min(pages / 4, kSlackPages), kSlabPages) / kSlabPages);
  std::vector<AlignedBytes> surplus;
  size_t missing = 0;
  {
    const std::lock_guard lock(mutex_);
    kept_max_ = wanted;
    for (; free_.size() > wanted; free_.pop_back()) surplus.push_back(std::move(free_.back()));
    missing = wanted - free_.size();
  }
  surplus.clear();
  // Never what others may need.
  if (missing * kSlabPages > static_cast<uint64_t>(std::max(::sysconf(_SC_AVPHYS_PAGES), 0l)) / 2) return;
  for (; missing != 0; --missing) {
    AlignedBytes slab = allocate_aligned(kSlabSize);
    if (slab == nullptr) return;
    (void)::madvise(slab.get(), kSlabSize, MADV_POPULATE_WRITE);
    give_back(std::move(slab));
  }
}

PagePool::Slab PagePool::take(const std::shared_ptr<PagePool>& pool) {
  AlignedBytes slab;
  {
    const std::lock_guard lock(pool->mutex_);
    if (!pool->free_.empty()) {
      slab = std::move(pool->free_.back());
      pool->free_.pop_back();
    }
  }
  if (slab == nullptr) slab = allocate_aligned(kSlabSize);
  if (slab == nullptr) return nullptr;
  return {slab.release(), [keeper = std::weak_ptr(pool)](std::byte* memory) {
            AlignedBytes owned(memory);
            if (const auto alive = keeper.lock()) alive->give_back(std::move(owned));
          }};
}

void PagePool::give_back(AlignedBytes slab) {
  const std::lock_guard lock(mutex_);
  if (free_.size() < kept_max_) free_.push_back(std::move(slab));
}

}  // namespace perdure::memory
