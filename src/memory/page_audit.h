// Every page that a group really has, by hash, to compare with what a store would give back.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "memory/page_runs.h"
#include "memory/tracked_space.h"
#include "store/store.h"

namespace perdure::memory {

class PageAudit {
 public:
  /// Hashes every page of the private mappings of a stopped process; asks nobody what was written.
  Result<void> add_space(const TrackedSpace& space, store::SpaceId id);
  /// Hashes every page of a file whose contents are the store's.
  Result<void> add_inode(int file, store::SpaceId id);

  /// One line for each page that the view has otherwise than the group had it; an absent page of anonymous memory is as good as a zero one.
  std::vector<std::string> compare(const store::View& view) const;

 private:
  struct Space {
    std::map<uint64_t, uint64_t> hashes;  ///< by page
    PageSet of_files;                     ///< where an absent page is the file's
  };
  Result<void> add_range(const TrackedSpace& space, const TrackedRange& range, Space& pages);

  std::map<store::SpaceId, Space> spaces_;
};

}  // namespace perdure::memory
