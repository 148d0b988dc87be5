// Memory to copy pages into, used over and over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace perdure::memory {

/// The first writes to fresh memory cost more than the copying: what its last user is through with is given out again. Thread-safe.
class PagePool {
 public:
  static constexpr uint64_t kSlabPages = 1024;
  /// Memory of kSlabPages; comes back to the pool when its last owner lets go, whichever of the two lives longer.
  using Slab = std::shared_ptr<std::byte[]>;

  static std::shared_ptr<PagePool> create() { return std::shared_ptr<PagePool>(new PagePool); }

  /// Has memory for so many pages, and some more, ready and written to, as far as the machine can spare it; what there is beyond that is given back to the system, now and
  /// when it returns.
  void reserve(uint64_t pages);
  /// Null when memory is short. `pool` is the pool itself.
  static Slab take(const std::shared_ptr<PagePool>& pool);

 private:
  struct Unmap {
    void operator()(std::byte* memory) const;
  };
  using OwnedSlab = std::unique_ptr<std::byte[], Unmap>;

  PagePool() = default;
  static OwnedSlab map_slab();
  void give_back(OwnedSlab slab);

  std::mutex mutex_;
  std::vector<OwnedSlab> free_;  ///< the last one was used last
  size_t kept_max_ = 1;
};

}  // namespace perdure::memory
