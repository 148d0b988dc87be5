#include "store/snapshot.h"

#include <algorithm>

namespace perdure::store {
namespace {

/// A snapshot is begun when the log since the last one is so many times its size: it costs a sixteenth of the bytes written.
constexpr uint64_t kLogToSnapshot = 16;
constexpr uint64_t kSmallestPiece = 64 << 10;
/// A piece is at most this fraction of the epoch it rides with or of the one before, beyond the smallest.
constexpr uint64_t kPieceFraction = 8;
constexpr uint64_t kPageBytes = 17;  // 16 and a share of the run's head

uint64_t encoded_size(const Index& index) { return index.page_count() * kPageBytes + index.object_bytes(); }

}  // namespace

std::span<const std::byte> SnapshotWriter::next_piece(const Index& index, EpochNumber last, Place next, uint64_t epoch_bytes,
                                                      uint64_t most_bytes) {
  if (!piece_.empty()) return piece_;
  if (!progress_) {
    if (last == 0 || logged_ < smallest_interval_ || logged_ < kLogToSnapshot * encoded_size(index)) return {};
    progress_ = Progress{.index = std::make_shared<const Index>(index), .root = {.epoch = last, .next = next, .pieces = {}}};
    logged_ = 0;
  }
  const size_t limit = std::min(most_bytes, std::max(kSmallestPiece, epoch_bytes / kPieceFraction));
  after_piece_ = progress_;
  encode_objects(*after_piece_, limit);
  if (after_piece_->objects_done) encode_pages(*after_piece_, limit);
  // The image of an empty index still needs a piece for its root to be written with.
  if (piece_.empty()) EntryEncoder(piece_).erased_space(0);
  return piece_;
}

void SnapshotWriter::encode_objects(Progress& progress, size_t limit) {
  EntryEncoder encoder(piece_);
  const auto& objects = progress.index->objects();
  for (auto at = objects.lower_bound(progress.object); at != objects.end(); ++at) {
    if (piece_.size() >= limit) return;
    encoder.object(at->first, *at->second, false);
    progress.object = at->first + 1;
  }
  progress.objects_done = true;
}

void SnapshotWriter::encode_pages(Progress& progress, size_t limit) {
  EntryEncoder encoder(piece_);
  std::vector<PageEntry> run;
  const auto& spaces = progress.index->spaces();
  for (auto at = spaces.lower_bound(progress.space); at != spaces.end(); ++at) {
    if (at->first != progress.space) progress.page = 0;
    progress.space = at->first;
    const auto finish_run = [&] {
      if (run.empty()) return;
      encoder.placed_pages(at->first, progress.page - run.size(), run.size());
      for (const PageEntry& entry : run) encoder.add_placed(entry);
      run.clear();
    };
    const bool to_the_end = at->second.for_each(progress.page, kPageNumberLimit, [&](uint64_t page, const PageEntry& entry) {
      if (page != progress.page) finish_run();
      if (piece_.size() + run.size() * sizeof(PageEntry) >= limit) return false;
      run.push_back(entry);
      progress.page = page + 1;
      return true;
    });
    finish_run();
    if (!to_the_end) return;
    progress.space = at->first + 1;
    progress.page = 0;
  }
  progress.done = true;
}

std::optional<SnapshotRoot> SnapshotWriter::root_with(Place piece) const {
  if (!after_piece_ || !after_piece_->done) return std::nullopt;
  SnapshotRoot root = after_piece_->root;
  root.pieces.push_back(piece);
  return root;
}

void SnapshotWriter::written(uint64_t bytes, std::optional<Place> piece) {
  logged_ += bytes;
  if (!piece) return;
  after_piece_->root.pieces.push_back(*piece);
  progress_ = after_piece_->done ? std::nullopt : std::move(after_piece_);
  after_piece_.reset();
  piece_.clear();
}

}  // namespace perdure::store
