#include "store/history.h"

#include <fmt/format.h>

#include <algorithm>

namespace perdure::store {

void History::drop(const BrokenLink& link) {
  if (link.is_snapshot) snapshots_.erase(link.epoch);
  else records_.erase(link.epoch);
}

const EpochRecord* History::find(EpochNumber epoch) const {
  const auto found = records_.find(epoch);
  return found == records_.end() ? nullptr : &found->second;
}

std::optional<History::Route> History::route(EpochNumber target, EpochNumber start_at_most) const {
  std::optional<Route> best;
  std::vector<const EpochRecord*> passed;
  for (EpochNumber at = target;;) {
    const auto snapshot = snapshots_.find(at);
    const bool starts_here = at == 0 || snapshot != snapshots_.end();
    if (starts_here) best = Route{at == 0 ? nullptr : &snapshot->second, passed};
    if (starts_here && at <= start_at_most) break;
    const EpochRecord* record = at == 0 ? nullptr : find(at);
    if (record == nullptr || record->previous >= at) break;
    passed.push_back(record);
    at = record->previous;
  }
  if (best) std::reverse(best->records.begin(), best->records.end());
  return best;
}

namespace {

/// `epoch` 0: a piece of a snapshot, whichever epoch it was written with.
Result<void> apply_part(Place place, EpochNumber epoch, PartReader& reader, Index& index, IndexObserver* observer) {
  const auto part = TRY(reader.read(place, epoch));
  return index.apply(part.entries, part.header.epoch, {place.sequence, place.offset + entries_space(part.header)}, observer);
}

}  // namespace

Result<void> History::replay(const EpochRecord& record, PartReader& reader, Index& index, IndexObserver* observer) {
  for (const Place& part : record.parts) TRY(apply_part(part, record.info.epoch, reader, index, observer));
  return {};
}

std::expected<Index, BrokenLink> History::build(const Route& route, const SegmentSet& segments, IndexObserver* observer) const {
  Index index;
  PartReader reader(segments);
  if (route.snapshot != nullptr)
    for (const Place& piece : route.snapshot->pieces)
      if (auto done = apply_part(piece, 0, reader, index, observer); !done)
        return std::unexpected(BrokenLink{true, route.snapshot->epoch, std::move(done).error()});
  for (const EpochRecord* record : route.records)
    if (auto done = replay(*record, reader, index, observer); !done)
      return std::unexpected(BrokenLink{false, record->info.epoch, std::move(done).error()});
  return index;
}

Result<Index> History::build(EpochNumber epoch, const SegmentSet& segments) const {
  std::optional<Error> damage;
  for (EpochNumber start_at_most = epoch;;) {
    const auto way = route(epoch, start_at_most);
    if (!way || way->start() > start_at_most) break;
    auto index = build(*way, segments, nullptr);
    if (index) return std::move(*index);
    if (!damage) damage = std::move(index.error().error);
    if (way->start() == 0) break;
    start_at_most = way->start() - 1;
  }
  if (damage) return std::unexpected(std::move(*damage));
  return failure(fmt::format("epoch {} cannot be reached: changes before it are damaged", epoch));
}

Result<void> History::check(const SnapshotRoot& snapshot, const SegmentSet& segments) {
  Index index;
  PartReader reader(segments);
  for (const Place& piece : snapshot.pieces) TRY(apply_part(piece, 0, reader, index, nullptr));
  return {};
}

const SnapshotRoot* History::snapshot_before(EpochNumber epoch) const {
  const auto after = snapshots_.lower_bound(epoch);
  return after == snapshots_.begin() ? nullptr : &std::prev(after)->second;
}

std::vector<const EpochRecord*> History::reachable(EpochNumber oldest, EpochNumber last) const {
  std::vector<const EpochRecord*> found;
  EpochNumber reached = 0;
  for (auto at = records_.begin(); at != records_.end() && at->first <= last; ++at) {
    const EpochNumber previous = at->second.previous;
    const bool has_route = previous == 0 || previous == reached || snapshots_.contains(previous) || snapshots_.contains(at->first);
    if (!has_route) continue;
    reached = at->first;
    if (at->first >= oldest) found.push_back(&at->second);
  }
  return found;
}

void History::forget_before(EpochNumber start) {
  snapshots_.erase(snapshots_.begin(), snapshots_.lower_bound(start));
  records_.erase(records_.begin(), records_.upper_bound(start));
}

Result<SegmentReader*> PartReader::segment(uint64_t sequence) {
  if (!segment_ || segment_->header.sequence != sequence) {
    reader_.reset();
    segment_ = segments_.find(sequence);
    if (!segment_) return failure(fmt::format("segment {} of the log is missing", sequence));
    reader_.emplace(*segment_);
  }
  return &*reader_;
}

Result<PartReader::Read> PartReader::read(Place place, EpochNumber epoch) {
  SegmentReader* reader = TRY(segment(place.sequence));
  const auto header = TRY(reader->part_header(place.offset));
  if (!header || (epoch != 0 && header->epoch != epoch))
    return failure(fmt::format("{} at {}: a part of the log is damaged", segment_->name, place.offset));
  return Read{*header, TRY(reader->entries(*header))};
}

}  // namespace perdure::store
