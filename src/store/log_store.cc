#include "store/log_store.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "store/cleaner.h"
#include "store/difference.h"
#include "store/durable_mark.h"
#include "store/epoch_writer.h"
#include "store/newest.h"
#include "store/properties.h"
#include "store/recovery.h"
#include "store/snapshot.h"
#include "store/verify.h"
#include "store/view.h"
#include "store/writer_lock.h"

namespace perdure::store {
namespace {

constexpr char kSuperblockFile[] = "store";
constexpr uint64_t kSmallestSegment = uint64_t{4} << 20;  // unless Options say less
constexpr uint64_t kLargestSegment = uint64_t{16} << 30;  // a Location counts its blocks in 24 bits

PartLimits part_limits(uint64_t segment_bytes) {
  constexpr uint64_t kMostDataPages = 4096;
  constexpr uint64_t kMostEntries = 1 << 20;
  return {std::clamp<uint64_t>(segment_bytes / 4 / kPageSize, 1, kMostDataPages),
          std::clamp<uint64_t>(segment_bytes / 4, kPageSize, kMostEntries)};
}

/// What identifies a store, and keeps its writer alone.
struct Opened {
  std::shared_ptr<Storage> storage;
  std::unique_ptr<File> lock;  ///< null: reader
  StoreId id{};
};

class LogStore : public Store {
 public:
  LogStore(Opened opened, const Options& options, SegmentSet segments, Recovered recovered)
      : opened_(std::move(opened)),
        options_(options),
        segments_(std::move(segments)),
        history_(std::move(recovered.history)),
        newest_(std::move(recovered.index), std::move(recovered.liveness)),
        last_(recovered.last),
        oldest_(recovered.oldest),
        counted_from_(recovered.counted_from),
        replay_sequence_(recovered.replay_sequence),
        kept_(count_kept()),
        notices_(std::move(recovered.notices)),
        log_(*opened_.storage, segments_, options.segment_bytes, recovered.end),
        cleaner_(opened_.id),
        snapshots_(std::min(options.segment_bytes, kSmallestSegment) / 4, logged_since_snapshot()) {
    if (opened_.lock) mark_.emplace(*opened_.storage, opened_.id, last_);
  }

  Result<EpochInfo> append(const EpochInfo& info, const Changes& changes) override {
    if (!opened_.lock) return failure("the store was opened for reading only");
    if (info.epoch <= last_) return failure(fmt::format("epoch {} is not newer than {}, the last of the store", info.epoch, last_));
    for (const auto& operation : changes.page_operations()) TRY(check_operation(operation));
    log_.set_segment_bytes(segment_bytes());
    EpochWriter writer(log_, info.epoch, part_limits(options_.segment_bytes));
    auto written = write_epoch(writer, info, changes);
    if (!written) {
      log_.abandon();
      return std::unexpected(std::move(written).error());
    }
    log_.commit();
    mark_->set(info.epoch);
    return adopt(writer, info);
  }

  Result<void> reclaim() override {
    if (!opened_.lock) return failure("the store was opened for reading only");
    // Else the next append does it, which somebody waits for.
    prepare_snapshot_piece(usual_epoch_bytes_);
    const bool look = cleaner_.busy() || logged_since_look_ >= log_.segment_bytes() / 32;
    if (look) {
      logged_since_look_ = 0;
      free_segments();
      TRY(segments_.trim_spare(2 + segments_.used().size() / 8));
    }
    // The last part of a segment goes beyond its size, and makes the file grow if it is not as large by then, which takes longer.
    if (log_.needs_spare()) TRY(segments_.prepare_spare(log_.segment_bytes() + usual_part_bytes()));
    if (!look) return {};
    // As many pages as an epoch makes useless: the store then shrinks as fast as it grows, or faster.
    return cleaner_.step(newest_.index(), newest_.liveness(), segments_, counted_from_ <= oldest_ ? replay_sequence_ : 0, pages_to_move_);
  }

  EpochNumber last_epoch() const override { return last_; }

  std::vector<EpochInfo> history() const override {
    std::vector<EpochInfo> infos;
    for (const EpochRecord* record : history_.reachable(oldest_, last_)) infos.push_back(record->info);
    return infos;
  }

  Result<std::unique_ptr<View>> view(EpochNumber epoch) const override {
    const EpochRecord* record = epoch < oldest_ || epoch > last_ ? nullptr : history_.find(epoch);
    if (record == nullptr) return failure(fmt::format("the store has no epoch {}", epoch));
    Index index = TRY(index_of(epoch));
    auto segments = segments_of(index, segments_);
    return make_view(record->info, std::move(index), PageReader(std::move(segments), opened_.id));
  }

  Result<Changes> changes_back_to(EpochNumber epoch) const override {
    if (epoch < oldest_ || history_.find(epoch) == nullptr) return failure(fmt::format("the store has no epoch {}", epoch));
    const Index index = TRY(index_of(epoch));
    return difference(newest_.index(), index, PageReader(segments_of(index, segments_), opened_.id));
  }

  Result<Changes> changes_to_nothing() const override { return difference(newest_.index(), Index(), PageReader({}, opened_.id)); }

  std::optional<uint64_t> page_hash(SpaceId space, uint64_t page) const override {
    const auto entry = newest_.index().find(space, page);
    return entry ? std::optional(entry->hash) : std::nullopt;
  }

  Usage usage() const override {
    return {.stored_bytes = segments_.total_bytes(),
            .live_bytes = newest_.liveness().live_pages() * kPageSize + newest_.index().object_bytes(),
            .segment_count = segments_.used().size() + segments_.spare_count()};
  }

  const std::vector<std::string>& notices() const override { return notices_; }

  Result<VerifyReport> verify(const std::function<void(uint64_t, uint64_t)>& progress) const override {
    return verify_store(*opened_.storage, opened_.id, segments_, history_, oldest_, last_, notices_, progress);
  }

  Result<void> set_property(const std::string& name, const std::string& value) override {
    if (!opened_.lock) return failure("the store was opened for reading only");
    return write_property(*opened_.storage, opened_.id, name, value);
  }
  Result<std::optional<std::string>> property(const std::string& name) const override {
    return read_property(*opened_.storage, opened_.id, name);
  }

 private:
  static Result<void> check_operation(const Changes::PageOperation& operation) {
    const bool range = operation.kind == Changes::PageOperation::Kind::put || operation.kind == Changes::PageOperation::Kind::erase;
    if (range && (operation.first >= kPageNumberLimit || operation.count > kPageNumberLimit - operation.first))
      return failure(fmt::format("space {} has no pages {}+{}", operation.space, operation.first, operation.count));
    return {};
  }

  Result<void> write_epoch(EpochWriter& writer, const EpochInfo& info, const Changes& changes) {
    const auto piece = prepare_snapshot_piece(changes.page_count() * kPageSize);
    if (!piece.empty()) TRY(writer.snapshot_piece(piece));
    const auto root = piece.empty() ? std::nullopt : snapshots_.root_with(snapshot_place(writer).value());
    TRY(cleaner_.write(writer, newest_.index()));
    TRY(writer.changes(changes));
    PartHeader commit{};
    commit.realtime_ns = info.realtime_ns;
    commit.previous_epoch = last_;
    commit.oldest_epoch = oldest_with(info.epoch);
    commit.replay_sequence = replay_sequence_for(commit.oldest_epoch);
    commit.page_count = changes.page_count();
    return writer.commit(commit, info, root ? &*root : nullptr);
  }

  std::span<const std::byte> prepare_snapshot_piece(uint64_t epoch_bytes) {
    return snapshots_.next_piece(newest_.index(), last_, log_.committed().place, epoch_bytes, part_limits(options_.segment_bytes).entries_bytes);
  }

  uint64_t usual_part_bytes() const {
    const PartLimits limits = part_limits(options_.segment_bytes);
    return align_up(std::min(usual_epoch_bytes_ + usual_epoch_bytes_ / 4, limits.data_pages * kPageSize + limits.entries_bytes), kPageSize);
  }

  /// A small store has small segments: some are always being filled, emptied, or kept to be used again. But while one is being filled with a few epochs,
  /// there is time to get the next one ready.
  uint64_t segment_bytes() const {
    const uint64_t live_bytes = newest_.liveness().live_pages() * kPageSize;
    const uint64_t wanted = std::max(live_bytes / 8, std::min(live_bytes / 4, 4 * usual_epoch_bytes_));
    return std::min(std::max(kSmallestSegment, align_up(wanted, kSmallestSegment)), options_.segment_bytes);
  }

  /// The oldest epoch to keep once `next` has been added.
  EpochNumber oldest_with(EpochNumber next) const {
    const uint64_t keep = std::max<uint64_t>(options_.keep_epochs, 1);
    const auto& records = history_.records();
    auto at = records.lower_bound(oldest_);
    for (uint64_t count = kept_ + 1; count > keep && at != records.end(); --count) ++at;
    return at == records.end() ? next : at->first;
  }

  /// What `oldest` is replayed from once damage that opening met no longer matters; null: the beginning, or that damage does.
  const SnapshotRoot* start_for(EpochNumber oldest) const {
    const SnapshotRoot* snapshot = history_.snapshot_before(oldest);
    return snapshot != nullptr && snapshot->epoch >= counted_from_ ? snapshot : nullptr;
  }

  uint64_t replay_sequence_for(EpochNumber oldest) const {
    const SnapshotRoot* start = start_for(oldest);
    return start == nullptr ? replay_sequence_ : start->next.sequence;
  }

  uint64_t count_kept() const {
    const auto& records = history_.records();
    return static_cast<uint64_t>(std::distance(records.lower_bound(oldest_), records.end()));
  }

  static std::optional<Place> snapshot_place(const EpochWriter& writer) {
    const PartHeader& first = writer.parts().front().header;
    return (first.flags & kPartSnapshot) != 0 ? std::optional(Place{first.sequence, first.offset}) : std::nullopt;
  }

  uint64_t logged_since_snapshot() const {
    const EpochNumber newest = history_.snapshots().empty() ? 0 : history_.snapshots().rbegin()->first;
    uint64_t bytes = 0;
    for (auto at = history_.records().upper_bound(newest); at != history_.records().end(); ++at) bytes += at->second.info.stored_bytes;
    return bytes;
  }

  void free_segments() {
    // After damage, what epochs before the count need is not known.
    if (oldest_ < counted_from_) return;
    std::vector<uint64_t> unneeded;
    for (const auto& [sequence, segment] : segments_.used()) {
      if (sequence >= replay_sequence_) break;
      const auto counts = newest_.liveness().segment(sequence);
      if (counts.live == 0 && counts.held == 0) unneeded.push_back(sequence);
    }
    for (const uint64_t sequence : unneeded) segments_.retire(sequence);
  }

  EpochInfo adopt(EpochWriter& writer, const EpochInfo& info) {
    EpochRecord record{.info = info, .previous = last_, .oldest = 0, .parts = {}};
    for (const Part& part : writer.parts())
      if ((part.header.flags & kPartSnapshot) == 0) record.parts.push_back({part.header.sequence, part.header.offset});
    const PartHeader& commit = writer.parts().back().header;
    record.info.page_count = commit.page_count;
    record.info.stored_bytes = commit.stored_bytes;
    const EpochNumber previous_oldest = std::exchange(oldest_, commit.oldest_epoch);
    record.oldest = commit.oldest_epoch;
    replay_sequence_ = commit.replay_sequence;
    pages_to_move_ = std::clamp<uint64_t>(commit.stored_bytes / kPageSize, 64, 4096);
    last_ = info.epoch;
    const auto snapshot = snapshot_place(writer);
    if (snapshot)
      if (auto root = snapshots_.root_with(*snapshot)) history_.add(std::move(*root));
    snapshots_.written(commit.stored_bytes, snapshot);
    cleaner_.written();
    usual_epoch_bytes_ = std::max(commit.stored_bytes, usual_epoch_bytes_ - usual_epoch_bytes_ / 16);
    logged_since_look_ += commit.stored_bytes;
    EpochInfo filled = record.info;
    history_.add(std::move(record));
    ++kept_;
    const auto& records = history_.records();
    for (auto at = records.lower_bound(previous_oldest); at->first < oldest_; ++at) --kept_;
    if (const SnapshotRoot* start = start_for(oldest_)) history_.forget_before(start->epoch);
    newest_.add(writer.take_parts(), last_, oldest_);
    return filled;
  }

  Result<Index> index_of(EpochNumber epoch) const {
    if (epoch == last_) return newest_.index();
    return history_.build(epoch, segments_);
  }

  Opened opened_;
  Options options_;
  SegmentSet segments_;
  History history_;
  Newest newest_;
  EpochNumber last_;
  EpochNumber oldest_;
  EpochNumber counted_from_;  ///< what newest_ counts holds for epochs from this one on
  uint64_t replay_sequence_;
  uint64_t kept_;  ///< epochs from oldest_ on
  uint64_t pages_to_move_ = 64;
  uint64_t usual_epoch_bytes_ = 0;  ///< what the last epochs took, the larger ones among them
  uint64_t logged_since_look_ = UINT64_MAX / 2;  ///< bytes since reclaim last looked for work
  std::vector<std::string> notices_;
  Log log_;
  Cleaner cleaner_;
  SnapshotWriter snapshots_;
  std::optional<DurableMark> mark_;  ///< a writer's
};

Result<StoreId> read_store_id(Storage& storage) {
  const std::string contents = TRY(read_file(storage, kSuperblockFile));
  unsigned damaged_copies = 0;
  auto superblock = read_superblock(contents, damaged_copies);
  if (!superblock) return std::unexpected(std::move(superblock).error().in(storage.path(kSuperblockFile)));
  return superblock->store_id;
}

Result<void> write_superblock(Storage& storage) {
  Superblock superblock{};
  superblock.created_ns = realtime_ns();
  if (::getrandom(superblock.store_id.data(), superblock.store_id.size(), 0) != static_cast<ssize_t>(superblock.store_id.size()))
    return system_error("getrandom");
  seal(superblock);
  std::string contents(2 * kPageSize, '\0');
  for (const size_t copy : {size_t{0}, kPageSize}) std::memcpy(contents.data() + copy, &superblock, sizeof superblock);
  return replace_file(storage, kSuperblockFile, contents);
}

/// What a writer killed between its write and its flush has left may be seen now and still be lost: what the newest epoch stands on
/// is made durable before anyone builds on it.
Result<void> settle(Storage& storage, const SegmentSet& segments, const Recovered& recovered) {
  for (const auto& [sequence, segment] : segments.used())
    if (sequence >= recovered.end_epoch_first_segment) TRY(segment->file->sync());
  return storage.sync_directory();
}

/// Segments behind the end of the log were begun and abandoned, or cannot be reached any more.
void retire_behind_end(SegmentSet& segments, uint64_t end) {
  std::vector<uint64_t> behind;
  for (const auto& [sequence, segment] : segments.used())
    if (sequence > end) behind.push_back(sequence);
  for (const uint64_t sequence : behind) segments.retire(sequence);
}

/// A reader keeps from being used again only what the epochs it can show need.
void release_unneeded(SegmentSet& segments, const Recovered& recovered) {
  if (recovered.counted_from > recovered.oldest) return;
  segments.release_unless([&](uint64_t sequence) {
    const auto counts = recovered.liveness.segment(sequence);
    return sequence >= recovered.replay_sequence || counts.live != 0 || counts.held != 0;
  });
}

Result<std::unique_ptr<Store>> open_writer(std::shared_ptr<Storage> storage, std::unique_ptr<File> lock, Options options) {
  options.segment_bytes = std::min(options.segment_bytes, kLargestSegment);
  Opened opened{storage, std::move(lock), TRY(read_store_id(*storage))};
  const auto durable = DurableMark::read(*storage, opened.id);
  auto segments = TRY(SegmentSet::open(*storage, opened.id, SegmentSet::Access::write));
  auto recovered = TRY(recover(segments, durable));
  TRY(settle(*storage, segments, recovered));
  retire_behind_end(segments, recovered.end.place.sequence);
  if (!recovered.cut_off.empty()) recovered.notices.push_back(recovered.cut_off);
  return std::make_unique<LogStore>(std::move(opened), options, std::move(segments), std::move(recovered));
}

bool has_superblock(Storage& storage) {
  return storage.open(kSuperblockFile, Storage::Access::read_only, Storage::Caching::buffered).has_value();
}

}  // namespace

Result<std::unique_ptr<Store>> create_store(std::shared_ptr<Storage> storage, const Options& options) {
  auto lock = TRY(take_writer_lock(*storage));
  if (has_superblock(*storage)) return std::unexpected(Error{"a store is already there: " + storage->path("."), EEXIST});
  TRY(write_superblock(*storage));
  return open_writer(std::move(storage), std::move(lock), options);
}

Result<std::unique_ptr<Store>> open_store(std::shared_ptr<Storage> storage, const Options& options) {
  if (!has_superblock(*storage)) return std::unexpected(Error{"no store: " + storage->path("."), ENOENT});
  auto lock = TRY(take_writer_lock(*storage));
  return open_writer(std::move(storage), std::move(lock), options);
}

Result<std::unique_ptr<Store>> open_store_read_only(std::shared_ptr<Storage> storage) {
  Opened opened{storage, nullptr, TRY(read_store_id(*storage))};
  auto durable = DurableMark::read(*storage, opened.id);
  auto segments = TRY(SegmentSet::open(*storage, opened.id, SegmentSet::Access::read));
  auto recovered = TRY(recover(segments, durable));
  // What looks like damage may be a writer that used a segment again between two looks at the directory.
  for (int attempt = 0; attempt < 5 && !recovered.notices.empty() && has_writer(*storage); ++attempt) {
    durable = DurableMark::read(*storage, opened.id);
    segments = TRY(SegmentSet::open(*storage, opened.id, SegmentSet::Access::read));
    recovered = TRY(recover(segments, durable));
  }
  release_unneeded(segments, recovered);
  if (!recovered.cut_off.empty() && !has_writer(*storage)) recovered.notices.push_back(recovered.cut_off);
  return std::make_unique<LogStore>(std::move(opened), Options{}, std::move(segments), std::move(recovered));
}

Result<std::unique_ptr<Store>> Store::create(const std::string& directory, const Options& options) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return system_error("make " + directory);
  return create_store(TRY(open_directory(directory)), options);
}

Result<std::unique_ptr<Store>> Store::open(const std::string& directory, const Options& options) {
  return open_store(TRY(open_directory(directory)), options);
}

Result<std::unique_ptr<Store>> Store::open_read_only(const std::string& directory) {
  return open_store_read_only(TRY(open_directory(directory)));
}

bool Store::exists(const std::string& directory) {
  return ::access((directory + "/" + kSuperblockFile).c_str(), F_OK) == 0;
}

}  // namespace perdure::store
