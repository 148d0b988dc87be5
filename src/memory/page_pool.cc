#include "memory/page_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"

namespace perdure::memory {

namespace {

constexpr uint64_t kSlackPages = 4096;
constexpr size_t kSlabSize = PagePool::kSlabPages * kPageSize;

}  // namespace

void PagePool::Unmap::operator()(std::byte* memory) const { ::munmap(memory, kSlabSize); }

/// Not of the heap, which would keep for a while what a large first epoch took.
PagePool::OwnedSlab PagePool::map_slab() {
  void* memory = ::mmap(nullptr, kSlabSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  (void)::madvise(memory, kSlabSize, MADV_HUGEPAGE);
  return OwnedSlab(static_cast<std::byte*>(memory));
}

void PagePool::reserve(uint64_t pages) {
  const size_t wanted = std::max<size_t>(1, align_up(pages + std::min(pages / 4, kSlackPages), kSlabPages) / kSlabPages);
  std::vector<OwnedSlab> surplus;
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
    OwnedSlab slab = map_slab();
    if (slab == nullptr) return;
    (void)::madvise(slab.get(), kSlabSize, MADV_POPULATE_WRITE);
    give_back(std::move(slab));
  }
}

PagePool::Slab PagePool::take(const std::shared_ptr<PagePool>& pool) {
  OwnedSlab slab;
  {
    const std::lock_guard lock(pool->mutex_);
    if (!pool->free_.empty()) {
      slab = std::move(pool->free_.back());
      pool->free_.pop_back();
    }
  }
  if (slab == nullptr) slab = map_slab();
  if (slab == nullptr) return nullptr;
  return {slab.release(), [keeper = std::weak_ptr(pool)](std::byte* memory) {
            OwnedSlab owned(memory);
            if (const auto alive = keeper.lock()) alive->give_back(std::move(owned));
          }};
}

void PagePool::give_back(OwnedSlab slab) {
  const std::lock_guard lock(mutex_);
  if (free_.size() < kept_max_) free_.push_back(std::move(slab));
}

}  // namespace perdure::memory
