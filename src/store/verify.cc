#include "store/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "store/page_reader.h"
#include "store/properties.h"

namespace perdure::store {
namespace {

/// Goes through the kept epochs in order, replaying each on the index of the one before.
class EpochWalk {
 public:
  EpochWalk(const SegmentSet& segments, const History& history) : segments_(segments), history_(history), reader_(segments) {}

  /// Calls visit(epoch) after each; the observer has been told what changed. Returns what is in the way of epochs that cannot be built.
  template <typename Visit>
  std::vector<std::string> walk(EpochNumber oldest, EpochNumber last, IndexObserver& observer, Visit&& visit) {
    std::vector<std::string> damage;
    const auto& records = history_.records();
    for (auto at = records.lower_bound(oldest); at != records.end() && at->first <= last; ++at) {
      if (auto done = go_to(at->second, observer); !done)
        damage.push_back(fmt::format("epoch {}: {}", at->first, done.error().message()));
      else visit(at->first);
    }
    return damage;
  }

 private:
  Result<void> go_to(const EpochRecord& record, IndexObserver& observer) {
    const EpochNumber from = std::exchange(at_, 0);
    if (from != 0 && record.previous == from) {
      TRY(History::replay(record, reader_, index_, &observer));
    } else {
      auto index = TRY(history_.build(record.info.epoch, segments_));
      // What the observer was told before is no longer there.
      for_each_entry([&](const PageEntry& entry) { observer.died(entry, record.info.epoch); });
      index_ = std::move(index);
      for_each_entry([&](const PageEntry& entry) { observer.born(entry); });
    }
    at_ = record.info.epoch;
    return {};
  }

  template <typename Visit>
  void for_each_entry(Visit&& visit) const {
    for (const auto& [id, tree] : index_.spaces())
      tree.for_each([&](uint64_t, const PageEntry& entry) {
        visit(entry);
        return true;
      });
  }

  const SegmentSet& segments_;
  const History& history_;
  PartReader reader_;
  Index index_;
  EpochNumber at_ = 0;
};

/// Every page version that a kept epoch may need.
class Collector : public IndexObserver {
 public:
  void born(const PageEntry& entry) override {
    if (entry.location != kZeroPage) versions_.push_back(entry);
  }
  void died(const PageEntry&, EpochNumber) override {}

  std::vector<PageEntry> sorted() {
    std::sort(versions_.begin(), versions_.end(), [](const PageEntry& a, const PageEntry& b) { return a.location < b.location; });
    versions_.erase(std::unique(versions_.begin(), versions_.end()), versions_.end());
    return std::move(versions_);
  }

 private:
  std::vector<PageEntry> versions_;
};

/// Finds the epochs that need certain pages.
class Affected : public IndexObserver {
 public:
  struct Epochs {
    uint64_t references = 0;
    EpochNumber first = 0;
    EpochNumber last = 0;
  };
  explicit Affected(const std::vector<Location>& locations) {
    for (const Location location : locations) epochs_[location];
  }
  void born(const PageEntry& entry) override {
    if (const auto found = epochs_.find(entry.location); found != epochs_.end()) ++found->second.references;
  }
  void died(const PageEntry& entry, EpochNumber) override {
    if (const auto found = epochs_.find(entry.location); found != epochs_.end() && found->second.references > 0) --found->second.references;
  }
  void visit(EpochNumber epoch) {
    for (auto& [location, epochs] : epochs_) {
      if (epochs.references == 0) continue;
      if (epochs.first == 0) epochs.first = epoch;
      epochs.last = epoch;
    }
  }
  const std::map<Location, Epochs>& epochs() const { return epochs_; }

 private:
  std::map<Location, Epochs> epochs_;
};

void check_files(Storage& storage, const SegmentSet& segments, VerifyReport& report) {
  unsigned damaged_copies = 0;
  const auto contents = read_file(storage, "store");
  if (!contents || !read_superblock(*contents, damaged_copies) || damaged_copies != 0)
    report.damage.push_back(storage.path("store") + ": a copy of the superblock is damaged; all epochs can still be read by the other");
  for (const auto& [sequence, segment] : segments.used())
    if (segment->damaged_copies != 0)
      report.damage.push_back(fmt::format("{} at 0: a copy of the segment's header is damaged; all epochs can still be read by the other",
                                          segment->name));
}

}  // namespace

Result<VerifyReport> verify_store(Storage& storage, const StoreId& store_id, const SegmentSet& segments, const History& history,
                                  EpochNumber oldest, EpochNumber last, const std::vector<std::string>& notices,
                                  const std::function<void(uint64_t, uint64_t)>& progress) {
  VerifyReport report;
  report.damage = notices;
  check_files(storage, segments, report);
  std::ranges::move(TRY(damaged_properties(storage, store_id)), std::back_inserter(report.damage));

  Collector collector;
  const auto unreachable = EpochWalk(segments, history).walk(oldest, last, collector, [&](EpochNumber) { ++report.epochs_checked; });
  report.damage.insert(report.damage.end(), unreachable.begin(), unreachable.end());
  const SnapshotRoot* start = history.snapshot_before(oldest);
  for (const auto& [epoch, snapshot] : history.snapshots()) {
    // What the log still tells of older ones is of no use to any epoch that is kept: their space may have been used again.
    if (start != nullptr && epoch < start->epoch) continue;
    if (auto done = History::check(snapshot, segments); !done)
      report.damage.push_back(fmt::format("{} (a snapshot of epoch {}: others are read more slowly, or not)", done.error().message(), epoch));
  }
  const std::vector<PageEntry> pages = collector.sorted();
  report.pages_checked = pages.size();

  std::vector<Location> locations;
  std::vector<std::string> problems;
  TRY(PageReader({segments.used().begin(), segments.used().end()}, store_id)
          .check(
              pages,
              [&](size_t i, const Error& error) {
                locations.push_back(pages[i].location);
                problems.push_back(error.what);
              },
              [&](uint64_t done) {
                if (progress) progress(done * kPageSize, pages.size() * kPageSize);
              }));
  if (locations.empty()) return report;
  Affected affected(locations);
  EpochWalk(segments, history).walk(oldest, last, affected, [&](EpochNumber epoch) { affected.visit(epoch); });
  for (size_t i = 0; i < locations.size(); ++i) {
    const auto& epochs = affected.epochs().at(locations[i]);
    if (epochs.first != 0) report.damage.push_back(fmt::format("{} (epochs {} to {})", problems[i], epochs.first, epochs.last));
  }
  return report;
}

}  // namespace perdure::store
