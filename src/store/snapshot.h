// Writing images of the index into the log, a piece at a time.
#pragma once

#include <optional>
#include <vector>

#include "store/index.h"
#include "store/log.h"

namespace perdure::store {

/// Decides when the log needs a new snapshot and encodes it in pieces that ride along with ordinary epochs. The cost is a fixed
/// fraction of the bytes logged, and so is what must be replayed.
class SnapshotWriter {
 public:
  /// `smallest_interval`: bytes of log between two snapshots, at least; `logged`: bytes since the last one began.
  SnapshotWriter(uint64_t smallest_interval, uint64_t logged) : smallest_interval_(smallest_interval), logged_(logged) {}

  /// The piece to write with the next epoch; empty: none. `index` is that of `last`, behind which the log goes on at `next`;
  /// `epoch_bytes`: about what the next epoch writes, or the last one wrote, `most_bytes`: the largest piece. The same until written().
  std::span<const std::byte> next_piece(const Index& index, EpochNumber last, Place next, uint64_t epoch_bytes, uint64_t most_bytes);
  /// The root, where the piece given last, placed at `piece`, completes the snapshot.
  std::optional<SnapshotRoot> root_with(Place piece) const;
  /// The epoch is durable: `bytes` of log, with the piece given last at `piece` if there was one.
  void written(uint64_t bytes, std::optional<Place> piece);

 private:
  struct Progress {
    std::shared_ptr<const Index> index;
    SnapshotRoot root;
    // What comes next: objects first, then pages by space.
    ObjectId object = 0;
    bool objects_done = false;
    SpaceId space = 0;
    uint64_t page = 0;
    bool done = false;
  };
  void encode_objects(Progress& progress, size_t limit);
  void encode_pages(Progress& progress, size_t limit);

  uint64_t smallest_interval_;
  uint64_t logged_;
  std::optional<Progress> progress_;
  std::optional<Progress> after_piece_;  ///< progress_ once piece_ is written
  std::vector<std::byte> piece_;
};

}  // namespace perdure::store
