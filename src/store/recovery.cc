#include "store/recovery.h"

#include <fmt/format.h>

#include <algorithm>

namespace perdure::store {
namespace {

/// A segment that is part of the log, and how many of its bytes are.
struct Stretch {
  std::shared_ptr<Segment> segment;
  std::optional<uint64_t> end;  ///< unknown for the last one, and before a missing one
};

/// Follows the segments' own account of where the log came from, newest first. What was begun and abandoned is left out.
std::vector<Stretch> follow_back(const SegmentSet& segments) {
  std::vector<Stretch> stretches;
  const auto& used = segments.used();
  std::optional<uint64_t> end;
  for (auto at = used.rbegin(); at != used.rend();) {
    const SegmentHeader& header = at->second->header;
    stretches.push_back({at->second, end});
    while (at != used.rend() && at->first > header.previous_sequence) ++at;
    end.reset();
    if (at != used.rend() && at->first == header.previous_sequence) end = header.previous_end;
  }
  return stretches;
}

struct FoundEpoch {
  EpochRecord record;
  std::vector<PartHeader> parts;
  std::optional<SnapshotRoot> root;
  const PartHeader& commit() const { return parts.back(); }
};

/// Puts parts together to epochs.
class Scanner {
 public:
  explicit Scanner(Recovered& result) : result_(result) {}

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
      if (gap != 0) note_gap(*stretch.segment, gap);
      gap = 0;
      add(reader, **header);
      offset += part_space(**header);
    }
    if (gap != 0 && stretch.end) note_gap(*stretch.segment, gap);
    return {};
  }

  std::vector<FoundEpoch>& epochs() { return epochs_; }

 private:
  void note_gap(const Segment& segment, uint64_t offset) {
    result_.notices.push_back(fmt::format("{} at {}: a part of the log is damaged", segment.name, offset));
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
      result_.notices.push_back(entries.error().message());
      return;
    }
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

  Recovered& result_;
  std::vector<PartHeader> parts_;
  std::vector<FoundEpoch> epochs_;
};

/// Scans as many of the newest segments as the epochs in them say are needed.
Result<std::vector<FoundEpoch>> scan_log(const std::vector<Stretch>& stretches, Recovered& result) {
  size_t count = 0;
  // The last epoch may prove to be cut off: the one before it has a say, too.
  size_t seen = 0;
  uint64_t replay_sequence = UINT64_MAX;
  while (count < stretches.size() && seen < 2) {
    Recovered discarded;
    Scanner probe(discarded);
    TRY(probe.scan(stretches[count++]));
    seen += probe.epochs().size();
    for (const FoundEpoch& epoch : probe.epochs()) replay_sequence = std::min(replay_sequence, epoch.commit().replay_sequence);
  }
  while (count < stretches.size() && stretches[count - 1].segment->header.sequence > replay_sequence) ++count;
  Scanner scanner(result);
  for (size_t i = count; i > 0; --i) TRY(scanner.scan(stretches[i - 1]));
  return std::move(scanner.epochs());
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
  while (!epochs.empty()) {
    const EpochRecord& newest = epochs.back().record;
    // From before the oldest kept epoch, so that its own record is met, too.
    const auto route = result.history.route(newest.info.epoch, newest.oldest - std::min<uint64_t>(newest.oldest, 1));
    if (!route) {
      result.notices.push_back(fmt::format("epoch {} cannot be reached: changes before it are damaged", newest.info.epoch));
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
    return;
  }
}

}  // namespace

Result<Recovered> recover(const SegmentSet& segments) {
  Recovered result;
  result.notices = segments.notices();
  auto epochs = TRY(scan_log(follow_back(segments), result));
  if (!epochs.empty() && !TRY(is_whole(segments, epochs.back()))) {
    const PartHeader& first = epochs.back().parts.front();
    result.cut_off = fmt::format("{} at {}: epoch {} is incomplete (cut off by a crash, or damaged)",
                                 segments.find(first.sequence)->name, first.offset, first.epoch);
    epochs.pop_back();
  }
  for (const FoundEpoch& epoch : epochs) {
    result.history.add(epoch.record);
    if (epoch.root) result.history.add(*epoch.root);
  }
  build_newest(segments, epochs, result);
  return result;
}

}  // namespace perdure::store
