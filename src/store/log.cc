#include "store/log.h"

#include <algorithm>
#include <cstring>

namespace perdure::store {
namespace {

/// From so many pages on it is worth a write of its own that the disk works while they are hashed.
constexpr uint64_t kPagesAhead = 256;

}  // namespace

Result<void> Log::begin_segment() {
  TRY(flush());
  TRY(finish_writes());
  if (!segment_head_) segment_head_ = allocate_aligned(kSegmentHeaderBytes);
  if (!segment_head_) return std::unexpected(Error{"write the store", ENOMEM});
  SegmentHeader header{};
  header.previous_sequence = head_.place.sequence;
  header.previous_end = head_.place.offset;
  auto fresh = TRY(segments_.take_fresh(header));
  segment_ = std::move(fresh.segment);
  directory_unsynced_ |= fresh.created;
  fresh_.push_back(segment_);

  std::memset(segment_head_.get(), 0, kSegmentHeaderBytes);
  for (const uint64_t copy : {uint64_t{0}, kSegmentHeaderCopy})
    std::memcpy(segment_head_.get() + copy, &segment_->header, sizeof(SegmentHeader));
  queue_.push_back({segment_head_.get(), kSegmentHeaderBytes});
  queue_offset_ = 0;
  epoch_bytes_ += kSegmentHeaderBytes;
  head_.place = {segment_->header.sequence, kSegmentHeaderBytes};
  return {};
}

Result<void> Log::place(Part& part, std::span<const iovec> data) {
  if (segment_full()) TRY(begin_segment());
  PartHeader& header = part.header;
  epoch_bytes_ += part_space(header);
  header.sequence = head_.place.sequence;
  header.offset = head_.place.offset;
  header.previous_checksum = head_.checksum;
  if ((header.flags & kPartCommit) != 0) header.stored_bytes = epoch_bytes_;
  if (header.data_pages >= kPagesAhead) return begin_write(part.data().offset, data);
  waiting_data_.assign(data.begin(), data.end());
  return {};
}

Result<void> Log::add(Part& part) {
  PartHeader& header = part.header;
  seal_part(header, part.head_bytes(), segment_->key);
  if (queue_.empty()) queue_offset_ = header.offset;
  queue_.push_back({part.head.get(), entries_space(header)});
  queue_.insert(queue_.end(), waiting_data_.begin(), waiting_data_.end());
  waiting_data_.clear();
  head_.place.offset += part_space(header);
  head_.checksum = header.header_checksum;
  // What comes next does not lie behind this head.
  return header.data_pages >= kPagesAhead ? flush() : Result<void>();
}

Result<void> Log::begin_write(uint64_t offset, std::span<const iovec> pieces) {
  written_ = true;
  if (std::find(unsynced_.begin(), unsynced_.end(), segment_) == unsynced_.end()) unsynced_.push_back(segment_);
  return segment_->file->begin_write(offset, pieces);
}

Result<void> Log::finish_writes() { return segment_ ? segment_->file->finish_writes() : Result<void>(); }

Result<void> Log::flush() {
  if (queue_.empty()) return {};
  const auto begun = begin_write(queue_offset_, queue_);
  queue_.clear();
  return begun;
}

Result<void> Log::sync() {
  TRY(flush());
  TRY(finish_writes());
  for (const auto& segment : unsynced_) TRY(segment->file->sync());
  unsynced_.clear();
  if (directory_unsynced_) TRY(storage_.sync_directory());
  directory_unsynced_ = false;
  return {};
}

void Log::commit() {
  for (auto& segment : fresh_) {
    segment->file->unlock();
    segments_.publish(std::move(segment));
  }
  fresh_.clear();
  committed_ = head_;
  written_ = false;
  epoch_bytes_ = 0;
}

void Log::abandon() {
  (void)finish_writes();
  queue_.clear();
  waiting_data_.clear();
  unsynced_.clear();
  segment_.reset();
  for (auto& segment : fresh_) segments_.give_back(std::move(segment));
  fresh_.clear();
  head_ = committed_;
  written_ = false;
  epoch_bytes_ = 0;
}

}  // namespace perdure::store
