// The contents of one epoch in memory: where each page lies, and the objects' records.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/format.h"
#include "store/page_tree.h"

namespace perdure::store {

/// Is told of every change to an index.
class IndexObserver {
 public:
  virtual ~IndexObserver() = default;
  virtual void born(const PageEntry& entry) = 0;
  virtual void died(const PageEntry& entry, EpochNumber epoch) = 0;
};

/// Counts, for each segment, the pages that the newest epoch needs and those that only older kept epochs need.
class Liveness final : public IndexObserver {
 public:
  Liveness() = default;
  Liveness(Liveness&&) = default;
  Liveness& operator=(Liveness&&) = default;

  struct Segment {
    uint64_t live = 0;  ///< pages here that the newest epoch's index names
    uint64_t held = 0;  ///< pages that it named once, and older kept epochs still do
    std::vector<uint32_t> references;  ///< by block: how often the newest index names it (clones share pages)
    EpochNumber last_death = 0;    ///< the epoch of the last one,
    size_t last_death_slot = 0;    ///< and where that epoch's deaths in this segment are counted
  };

  void born(const PageEntry& entry) override {
    if (entry.location == kZeroPage) return;
    Segment& segment = at(sequence_of(entry.location));
    const uint64_t block = offset_of(entry.location) / kPageSize;
    if (block >= segment.references.size()) segment.references.resize(block + 1);
    if (segment.references[block]++ == 0) ++segment.live;
  }
  /// An entry replaced in `epoch`: its page, if no other names it, is needed until the oldest kept epoch is that one.
  void died(const PageEntry& entry, EpochNumber epoch) override {
    if (entry.location == kZeroPage) return;
    Segment& segment = at(sequence_of(entry.location));
    if (--segment.references[offset_of(entry.location) / kPageSize] != 0) return;
    --segment.live;
    ++segment.held;
    if (deaths_.empty() || deaths_.back().epoch != epoch) deaths_.push_back({epoch, {}});
    auto& counts = deaths_.back().counts;
    if (segment.last_death != epoch) {
      segment.last_death = epoch;
      segment.last_death_slot = counts.size();
      counts.emplace_back(sequence_of(entry.location), 0);
    }
    ++counts[segment.last_death_slot].second;
  }
  /// No epoch before `oldest` is kept any more.
  void forget_before(EpochNumber oldest);

  struct Counts {
    uint64_t live;
    uint64_t held;
  };
  Counts segment(uint64_t sequence) const;
  uint64_t live_pages() const;

 private:
  struct Deaths {
    EpochNumber epoch;
    std::vector<std::pair<uint64_t, uint64_t>> counts;  ///< by segment
  };
  Segment& at(uint64_t sequence) {
    Recent& recent = recent_[sequence % kRecent];
    if (recent.sequence != sequence) recent = {sequence, &segments_[sequence]};
    return *recent.segment;
  }

  std::unordered_map<uint64_t, Segment> segments_;  // references to its elements stay valid
  // Lookups go back and forth between a few segments.
  static constexpr size_t kRecent = 64;
  struct Recent {
    uint64_t sequence = 0;
    Segment* segment = nullptr;
  };
  std::array<Recent, kRecent> recent_{};
  std::deque<Deaths> deaths_;
};

/// Copying costs O(spaces + objects); the pages are shared.
class Index {
 public:
  /// Applies the entries of one part of `epoch`, whose data pages begin at `data` in the log. Parts apply in their order. `observer`
  /// may be null. Error when the bytes are no entries; the index is then in between.
  Result<void> apply(std::span<const std::byte> entries, EpochNumber epoch, Place data, IndexObserver* observer);
  const std::map<SpaceId, PageTree>& spaces() const { return spaces_; }
  const PageTree* space(SpaceId id) const;
  std::optional<PageEntry> find(SpaceId space, uint64_t page) const;
  const std::map<ObjectId, std::shared_ptr<const std::string>>& objects() const { return objects_; }
  uint64_t page_count() const;
  uint64_t object_bytes() const { return object_bytes_; }

 private:
  class Applier;

  std::map<SpaceId, PageTree> spaces_;
  std::map<ObjectId, std::shared_ptr<const std::string>> objects_;
  uint64_t object_bytes_ = 0;
};

}  // namespace perdure::store
