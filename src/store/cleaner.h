// Moving what is still needed out of mostly dead segments.
#pragma once

#include <deque>
#include <set>
#include <vector>

#include "store/epoch_writer.h"
#include "store/index.h"
#include "store/segments.h"

namespace perdure::store {

/// Picks segments most of which no kept epoch needs, and has the pages in them that the newest epoch needs written anew as part of
/// ordinary epochs. What this empties is free once no kept epoch refers to it any more.
class Cleaner {
 public:
  explicit Cleaner(StoreId store_id) : store_id_(store_id) {}

  /// Looks for work, or goes on with it: reads up to `most_pages`. Only segments before `before_sequence` are emptied. On error
  /// (a page that cannot be read) the segment is left alone from then on.
  Result<void> step(const Index& index, const Liveness& liveness, const SegmentSet& segments, uint64_t before_sequence,
                    uint64_t most_pages);

  /// A step or an epoch is waited for.
  bool busy() const { return !victims_.empty() || !staged_.empty(); }

  /// Adds to an epoch what was read and still holds.
  Result<void> write(EpochWriter& writer, const Index& index) const;
  /// The epoch is durable.
  void written();

 private:
  struct Move {
    Location location;
    EpochWriter::PageNumber page;
    auto operator<=>(const Move&) const = default;
  };

  void choose_victims(const Liveness& liveness, const SegmentSet& segments, uint64_t before_sequence);
  void scan(const Index& index);
  Result<void> stage(const Index& index, const SegmentSet& segments, uint64_t most_pages);
  static bool holds(const Index& index, const Move& move);

  StoreId store_id_;
  std::set<uint64_t> victims_;
  std::set<uint64_t> unreadable_;
  bool scanning_ = false;
  EpochWriter::PageNumber cursor_{};
  std::vector<Move> moves_;    ///< found, sorted by location once the scan is done
  size_t next_move_ = 0;

  std::vector<Move> staged_;   ///< read, one or more for each staged page, by location
  AlignedBytes contents_;      ///< of the staged pages, one for each distinct location
};

}  // namespace perdure::store
