// The writing end of the log.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "store/format.h"
#include "store/segments.h"

namespace perdure::store {

/// An end of the log: where the next part goes, and the header_checksum of the part before it.
struct LogPosition {
  Place place;  ///< sequence 0: nothing has been written yet
  uint64_t checksum = 0;
};

/// A part as it is written: header, entries and padding in `head`, then the data pages.
struct Part {
  PartHeader header{};
  AlignedBytes head;
  std::span<std::byte> head_bytes() const { return {head.get(), entries_space(header)}; }
  std::span<const std::byte> entries() const { return head_bytes().subspan(sizeof(PartHeader), header.entries_bytes); }
  /// Where its data pages begin.
  Place data() const { return {header.sequence, header.offset + entries_space(header)}; }
};

/// Places parts one behind the other into segments, and knows up to where they are durable. A stretch of a segment is written at most
/// once: after a failure, and after opening, the log goes on in a fresh segment.
class Log {
 public:
  Log(Storage& storage, SegmentSet& segments, uint64_t segment_bytes, LogPosition committed)
      : storage_(storage), segments_(segments), segment_bytes_(segment_bytes), committed_(committed), head_(committed) {}

  /// Gives the part, whose header says how large it is, its place; much data begins to be written. add() of the same part must follow. The memory of
  /// head and data stays as it is until sync() or abandon().
  Result<void> place(Part& part, std::span<const iovec> data);
  /// Gives the part, whose entries are complete now, its checksums, and queues what place() has not begun to write.
  Result<void> add(Part& part);
  /// Begins to write what is queued.
  Result<void> flush();
  /// Makes all that was added durable.
  Result<void> sync();
  /// The next add goes into a segment other than the ones before it.
  bool segment_full() const { return !segment_ || head_.place.offset >= segment_bytes_; }
  /// From the next segment on, segments are this large.
  void set_segment_bytes(uint64_t bytes) { segment_bytes_ = bytes; }
  uint64_t segment_bytes() const { return segment_bytes_; }
  /// Enough is written to the segment that there will be another.
  bool needs_spare() const { return segment_ && head_.place.offset >= segment_bytes_ / 4; }
  /// Parts were flushed (not only queued) since the last commit.
  bool written() const { return written_; }

  /// What was added and synced is part of the log from now on.
  void commit();
  /// Forgets all that was added since the last commit.
  void abandon();
  const LogPosition& committed() const { return committed_; }

 private:
  Result<void> begin_segment();
  Result<void> begin_write(uint64_t offset, std::span<const iovec> pieces);
  Result<void> finish_writes();

  Storage& storage_;
  SegmentSet& segments_;
  uint64_t segment_bytes_;
  LogPosition committed_;
  LogPosition head_;
  std::shared_ptr<Segment> segment_;                ///< where head_ is; null: the next part begins a segment
  std::vector<std::shared_ptr<Segment>> fresh_;     ///< begun since the last commit
  std::vector<std::shared_ptr<Segment>> unsynced_;  ///< written to since the last sync
  bool directory_unsynced_ = false;
  bool written_ = false;
  uint64_t epoch_bytes_ = 0;  ///< added since the last commit

  AlignedBytes segment_head_;
  std::vector<iovec> queue_;         ///< one behind the other from queue_offset_ on
  std::vector<iovec> waiting_data_;  ///< of the part that was placed, if its data has not begun to be written
  uint64_t queue_offset_ = 0;
};

}  // namespace perdure::store
