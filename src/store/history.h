// Which epochs can be reached, and how: snapshots of the index and the changes between.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "store/index.h"
#include "store/segments.h"
#include "store/store.h"

namespace perdure::store {

/// One epoch in the log.
struct EpochRecord {
  EpochInfo info;
  EpochNumber previous = 0;  ///< the epoch its changes are relative to
  EpochNumber oldest = 0;    ///< the oldest kept as of this one
  std::vector<Place> parts;  ///< those with changes, in order
};

/// A link that turned out to be damaged while an epoch was built.
struct BrokenLink {
  bool is_snapshot;
  EpochNumber epoch;
  Error error;
};

/// Reads parts wherever they lie, keeping the reader of the last segment.
class PartReader {
 public:
  explicit PartReader(const SegmentSet& segments) : segments_(segments) {}
  struct Read {
    PartHeader header;
    std::span<const std::byte> entries;  ///< valid until the next call
  };
  Result<Read> read(Place place, EpochNumber epoch);
  /// The reader of a segment; error when it is not there.
  Result<SegmentReader*> segment(uint64_t sequence);

 private:
  const SegmentSet& segments_;
  std::shared_ptr<Segment> segment_;
  std::optional<SegmentReader> reader_;
};

/// Epochs and snapshots, by number.
class History {
 public:
  void add(EpochRecord record) { records_.insert_or_assign(record.info.epoch, std::move(record)); }
  void add(SnapshotRoot root) { snapshots_.insert_or_assign(root.epoch, std::move(root)); }
  void drop(const BrokenLink& link);

  const std::map<EpochNumber, EpochRecord>& records() const { return records_; }
  const std::map<EpochNumber, SnapshotRoot>& snapshots() const { return snapshots_; }
  const EpochRecord* find(EpochNumber epoch) const;

  /// From which snapshot, and through which epochs, `target` is reached.
  struct Route {
    const SnapshotRoot* snapshot = nullptr;    ///< null: from the empty index
    std::vector<const EpochRecord*> records;   ///< oldest first
    EpochNumber start() const { return snapshot == nullptr ? 0 : snapshot->epoch; }
  };
  /// The route from the newest snapshot not after `start_at_most`, or from the oldest there is. nullopt: no route.
  std::optional<Route> route(EpochNumber target, EpochNumber start_at_most) const;

  /// Builds the index at the end of a route. `observer` (may be null) is told of all pages of the snapshot, and of what changes on the way.
  std::expected<Index, BrokenLink> build(const Route& route, const SegmentSet& segments, IndexObserver* observer) const;
  /// The index of an epoch, by whichever route is whole.
  Result<Index> build(EpochNumber epoch, const SegmentSet& segments) const;
  /// Goes on by one epoch.
  static Result<void> replay(const EpochRecord& record, PartReader& reader, Index& index, IndexObserver* observer);

  /// Reads a snapshot and throws it away.
  static Result<void> check(const SnapshotRoot& snapshot, const SegmentSet& segments);

  /// The newest snapshot before `epoch`; null: none. From it, `epoch` is reached by replaying its own record, too.
  const SnapshotRoot* snapshot_before(EpochNumber epoch) const;
  /// The epochs from `oldest` to `last` that there is a route to, ascending.
  std::vector<const EpochRecord*> reachable(EpochNumber oldest, EpochNumber last) const;

  /// Forgets the snapshots before the one of `start`, and the epochs up to it.
  void forget_before(EpochNumber start);

 private:
  std::map<EpochNumber, EpochRecord> records_;
  std::map<EpochNumber, SnapshotRoot> snapshots_;
};

}  // namespace perdure::store
