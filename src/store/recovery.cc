#include "store/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace perdure::store {
namespace {

/// A segment that is part of the log, and how many of its bytes are.
struct Stretch {
  std::shared_ptr<Segment> segment;
  std::optional<uint64_t> end;  ///< unknown for the last one, and before a missing one
  uint64_t missing = 0;         ///< sequence of the one before it in the log, when that is not there
};

/// Follows the segments' own account of where the log came from, newest first. What was begun and abandoned is left out.
std::vector<Stretch> follow_back(const SegmentSet& segments) {
  std::vector<Stretch> stretches;
  const auto& used = segments.used();
  std::optional<uint64_t> end;
  for (auto at = used.rbegin(); at != used.rend();) {
    const SegmentHeader& header = at->second->header;
    stretches.push_back({.segment = at->second, .end = end});
    while (at != used.rend() && at->first > header.previous_sequence) ++at;
    end.reset();
    const bool found = at != used.rend() && at->first == header.previous_sequence;
    if (found) end = header.previous_end;
    else stretches.back().missing = header.previous_sequence;
  }
  return stretches;
}

std::string range(EpochNumber first, EpochNumber last) {
  return first == last ? fmt::format("epoch {}", first) : fmt::format("epochs {} to {}", first, last);
}

struct FoundEpoch {
  EpochRecord record;
  std::vector<PartHeader> parts;
  std::optional<SnapshotRoot> root;
  const PartHeader& commit() const { return parts.back(); }
};

/// Something in or before a segment that is not as it should be.
struct Damage {
  uint64_t sequence;
  std::string what;
};

/// Puts parts together to epochs.
class Scanner {
 public:
  Result<void> scan(const Stretch& stretch) {
    SegmentReader reader(*stretch.segment);
    const uint64_t end = stretch.end.value_or(TRY(stretch.segment->file->size()));
    uint64_t gap = 0;
    for (uint64_t offset = kSegmentHeaderBytes; offset < end;) {
      const auto header = reader.part_header(offset);
      // Behind something damaged or unreadable, the next part may begin at any block.
      if (!header || !*header) {
        if (gap == 0) gap = offset;
        offset += kPageSize;
        continue;
      }
      if (gap != 0) doubt(stretch.segment->header.sequence, damaged_part(*stretch.segment, gap));
      gap = 0;
      add(reader, **header);
      offset += part_space(**header);
    }
    if (gap != 0 && stretch.end) doubt(stretch.segment->header.sequence, damaged_part(*stretch.segment, gap));
    return {};
  }

  /// Something is not as it should be: damage if a later epoch follows, or else perhaps the end of what a crash left.
  void doubt(uint64_t sequence, std::string what) {
    parts_.clear();
    doubts_.push_back({sequence, std::move(what)});
  }

  std::vector<FoundEpoch>& epochs() { return epochs_; }
  const std::vector<Damage>& damage() const { return damage_; }
  const std::vector<Damage>& doubts() const { return doubts_; }

 private:
  static std::string damaged_part(const Segment& segment, uint64_t offset) {
    return fmt::format("{} at {}: a part of the log is damaged", segment.name, offset);
  }

  void settle_doubts(EpochNumber next) {
    const EpochNumber last = epochs_.empty() ? 0 : epochs_.back().record.info.epoch;
    for (Damage& doubt : doubts_) {
      if (last + 1 < next) doubt.what += fmt::format(" (with {})", range(last + 1, next - 1));
      damage_.push_back(std::move(doubt));
    }
    doubts_.clear();
  }

  void add(SegmentReader& reader, const PartHeader& header) {
    const bool follows = !parts_.empty() && header.epoch == parts_.back().epoch && header.part_number == parts_.size() &&
                         header.previous_checksum == parts_.back().header_checksum;
    if (header.part_number != 0 && !follows) {
      parts_.clear();
      return;
    }
    if (header.part_number == 0) parts_.clear();
    parts_.push_back(header);
    if ((header.flags & kPartCommit) != 0) finish(reader);
  }

  void finish(SegmentReader& reader) {
    FoundEpoch found{make_record(), std::move(parts_), std::nullopt};
    parts_.clear();
    const auto entries = reader.entries(found.commit());
    if (!entries) {
      doubt(found.commit().sequence, entries.error().message());
      return;
    }
    settle_doubts(found.record.info.epoch);
    EntryDecoder decoder(*entries);
    for (Entry entry; decoder.next(entry);) {
      const std::string text(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
      if (entry.kind == EntryKind::label) found.record.info.label = text;
      if (entry.kind == EntryKind::attributes) found.record.info.attributes = text;
      if (auto root = decode_snapshot_root(entry)) found.root = std::move(root);
    }
    epochs_.push_back(std::move(found));
  }

  EpochRecord make_record() const {
    const PartHeader& commit = parts_.back();
    EpochRecord record;
    record.info.epoch = commit.epoch;
    record.info.realtime_ns = commit.realtime_ns;
    record.info.page_count = commit.page_count;
    record.info.stored_bytes = commit.stored_bytes;
    record.previous = commit.previous_epoch;
    record.oldest = commit.oldest_epoch;
    for (const PartHeader& part : parts_)
      if ((part.flags & kPartSnapshot) == 0) record.parts.push_back({part.sequence, part.offset});
    return record;
  }

  std::vector<PartHeader> parts_;
  std::vector<FoundEpoch> epochs_;
  std::vector<Damage> damage_;
  std::vector<Damage> doubts_;
};

/// Scans as many of the newest segments as the epochs in them say are needed.
Result<Scanner> scan_log(const std::vector<Stretch>& stretches) {
  size_t count = 0;
  // The last epoch may prove to be cut off: the one before it has a say, too.
  size_t seen = 0;
  uint64_t replay_sequence = UINT64_MAX;
  while (count < stretches.size() && seen < 2) {
    Scanner probe;
    TRY(probe.scan(stretches[count++]));
    seen += probe.epochs().size();
    for (const FoundEpoch& epoch : probe.epochs()) replay_sequence = std::min(replay_sequence, epoch.commit().replay_sequence);
  }
  while (count < stretches.size() && stretches[count - 1].segment->header.sequence > replay_sequence) ++count;
  Scanner scanner;
  for (size_t i = count; i > 0; --i) {
    const Stretch& stretch = stretches[i - 1];
    if (stretch.missing != 0) scanner.doubt(stretch.missing, fmt::format("segment {} of the log is missing", stretch.missing));
    TRY(scanner.scan(stretch));
  }
  return scanner;
}

/// The last epoch may have been cut off by a crash in the middle of its write, in any order of blocks.
Result<bool> is_whole(const SegmentSet& segments, const FoundEpoch& epoch) {
  PartReader reader(segments);
  for (size_t i = epoch.commit().flushed_parts; i < epoch.parts.size(); ++i) {
    SegmentReader* segment = TRY(reader.segment(epoch.parts[i].sequence));
    const auto damaged = segment->damaged_data(epoch.parts[i]);
    if (!damaged || !damaged->empty()) return false;
  }
  return true;
}

void drop_newest(std::vector<FoundEpoch>& epochs, History& history) {
  history.drop({false, epochs.back().record.info.epoch, {}});
  if (epochs.back().root) history.drop({true, epochs.back().root->epoch, {}});
  epochs.pop_back();
}

void set_end(Recovered& result, const FoundEpoch& epoch) {
  const PartHeader& commit = epoch.commit();
  result.replay_sequence = commit.replay_sequence;
  result.end = {{commit.sequence, commit.offset + part_space(commit)}, commit.header_checksum};
  result.end_epoch_first_segment = epoch.parts.front().sequence;
}

/// Builds the index of the newest epoch there is a way to; what proves damaged on the way is dropped, and another way is sought.
void build_newest(const SegmentSet& segments, std::vector<FoundEpoch>& epochs, Recovered& result) {
  std::vector<EpochNumber> unreachable;
  while (!epochs.empty()) {
    const EpochRecord& newest = epochs.back().record;
    // From before the oldest kept epoch, so that its own record is met, too.
    const auto route = result.history.route(newest.info.epoch, newest.oldest - std::min<uint64_t>(newest.oldest, 1));
    if (!route) {
      unreachable.push_back(newest.info.epoch);
      drop_newest(epochs, result.history);
      continue;
    }
    Liveness liveness;
    auto index = result.history.build(*route, segments, &liveness);
    if (!index) {
      result.notices.push_back(index.error().error.message());
      result.history.drop(index.error());
      continue;
    }
    liveness.forget_before(newest.oldest);
    result.index = std::move(*index);
    result.liveness = std::move(liveness);
    result.last = newest.info.epoch;
    result.oldest = newest.oldest;
    result.counted_from = route->start();
    set_end(result, epochs.back());
    break;
  }
  if (!unreachable.empty())
    result.notices.push_back(range(unreachable.back(), unreachable.front()) + " cannot be reached: changes that came before are lost or damaged");
}

/// What never was durable is no loss, and nobody's concern.
void judge_end(Recovered& result, std::optional<EpochNumber> durable) {
  if (!durable) return;
  const std::string cut_off = std::exchange(result.cut_off, {});
  if (*durable <= result.last) return;
  result.notices.push_back(fmt::format("lost, though durable: {}: {}", range(result.last + 1, *durable),
                                       cut_off.empty() ? "segments of the log are missing or damaged" : cut_off));
}

}  // namespace

Result<Recovered> recover(const SegmentSet& segments, std::optional<EpochNumber> durable) {
  Recovered result;
  result.notices = segments.notices();
  Scanner scanner = TRY(scan_log(follow_back(segments)));
  auto& epochs = scanner.epochs();
  if (!scanner.doubts().empty()) result.cut_off = scanner.doubts().front().what;
  if (!epochs.empty() && !TRY(is_whole(segments, epochs.back()))) {
    const PartHeader& first = epochs.back().parts.front();
    result.cut_off = fmt::format("{} at {}: epoch {} is incomplete (cut off by a crash, or damaged)",
                                 segments.find(first.sequence)->name, first.offset, first.epoch);
    epochs.pop_back();
  }
  // What comes before may have been used again, for what was never flushed.
  const uint64_t needed_from = epochs.empty() ? 0 : epochs.back().commit().replay_sequence;
  for (const Damage& damage : scanner.damage())
    if (damage.sequence >= needed_from) result.notices.push_back(damage.what);
  for (const FoundEpoch& epoch : epochs) {
    result.history.add(epoch.record);
    if (epoch.root) result.history.add(*epoch.root);
  }
  build_newest(segments, epochs, result);
  judge_end(result, durable);
  return result;
}

}  // namespace perdure::store
