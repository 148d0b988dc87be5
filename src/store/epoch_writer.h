// Turns one epoch's changes into parts of the log.
#pragma once

#include <vector>

#include "store/changes.h"
#include "store/log.h"
#include "store/store.h"

namespace perdure::store {

/// How large a part may grow before the epoch goes on in another.
struct PartLimits {
  uint64_t data_pages;
  uint64_t entries_bytes;
};

/// Writes one epoch: a piece of a snapshot if any, then changes, then commit. An epoch beyond the limits is streamed in several
/// parts, all durable before the last is written; any other is written at once, with one flush.
class EpochWriter {
 public:
  EpochWriter(Log& log, EpochNumber epoch, PartLimits limits) : log_(log), epoch_(epoch), limits_(limits) {}

  /// Before everything else.
  Result<void> snapshot_piece(std::span<const std::byte> entries);
  /// A page moved within the log: `contents` are stored anew for all the places in `at`.
  struct PageNumber {
    SpaceId space;
    uint64_t page;
    auto operator<=>(const PageNumber&) const = default;
  };
  Result<void> moved_page(std::span<const PageNumber> at, const std::byte* contents, uint64_t hash);
  Result<void> changes(const Changes& changes);
  /// Makes the epoch durable. `commit` has the fields that belong to a commit. Not yet Log::commit.
  Result<void> commit(const PartHeader& commit, const EpochInfo& info, const SnapshotRoot* root);

  const std::vector<Part>& parts() const { return parts_; }
  std::vector<Part> take_parts() { return std::move(parts_); }

 private:
  Result<void> object(ObjectId id, const Changes::ObjectChange& change);
  Result<void> put(const Changes::PageOperation& operation);
  Result<uint64_t> put_run(SpaceId space, uint64_t first, uint64_t count, const std::byte* staged);
  void add_data(const std::byte* pages, uint64_t count);
  Result<void> make_room();
  Result<void> finish_part(PartHeader header);
  void hash_pages(Part& part);

  Log& log_;
  EpochNumber epoch_;
  PartLimits limits_;
  std::vector<Part> parts_;
  std::vector<std::byte> entries_;
  EntryEncoder encoder_{entries_};
  std::vector<iovec> data_;
  uint64_t data_pages_ = 0;
  /// Room in the entries for the hashes of these pages: hashed once the disk is at work on them.
  struct Unhashed {
    size_t at;
    const std::byte* pages;
    uint64_t count;
  };
  std::vector<Unhashed> unhashed_;
};

}  // namespace perdure::store
