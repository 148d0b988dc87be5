// The segment files of a store.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/format.h"
#include "store/storage.h"

namespace perdure::store {

/// One segment: a file and the header that says which part of the log it holds. Constant while it is part of the log or pinned.
struct Segment {
  Segment(std::string file_name, std::unique_ptr<File> segment_file) : name(std::move(file_name)), file(std::move(segment_file)) {}

  std::string name;
  std::unique_ptr<File> file;
  SegmentHeader header{};
  uint64_t key = 0;
  unsigned damaged_copies = 0;  ///< of the header, when it was read
  std::atomic<uint64_t> pins{0};

  bool pinned() const { return pins.load(std::memory_order_acquire) != 0; }
};

/// A reference that keeps the segment's space from being used again; may be let go of in any thread.
std::shared_ptr<const Segment> pin(std::shared_ptr<Segment> segment);

/// Reads a segment through a window, so that neighbouring small records cost one read. One thread.
class SegmentReader {
 public:
  explicit SegmentReader(const Segment& segment) : segment_(segment) {}
  /// Up to `size` bytes at `offset` (a multiple of kPageSize), fewer at the end of the file; valid until the next call.
  Result<std::span<const std::byte>> bytes(uint64_t offset, size_t size);
  /// The header of the part at `offset`; nullopt where there is none.
  Result<std::optional<PartHeader>> part_header(uint64_t offset);
  /// The entries of that part, checked.
  Result<std::span<const std::byte>> entries(const PartHeader& header);
  /// Checks the data pages of a part against the hashes in its entries; returns the offsets of those that differ.
  Result<std::vector<uint64_t>> damaged_data(const PartHeader& header);

 private:
  const Segment& segment_;
  AlignedBytes window_;
  size_t window_space_ = 0;
  uint64_t window_offset_ = 0;
  size_t window_size_ = 0;
};

/// All segment files of one store: those that hold part of the log, by sequence, and spare ones.
class SegmentSet {
 public:
  enum class Access { read, write };
  /// Opens every segment file. A reader locks each against being used again; what is being used again at that moment counts as absent.
  static Result<SegmentSet> open(Storage& storage, const StoreId& store_id, Access access);

  const std::map<uint64_t, std::shared_ptr<Segment>>& used() const { return used_; }
  std::shared_ptr<Segment> find(uint64_t sequence) const;
  uint64_t last_sequence() const { return last_sequence_; }
  /// One line for each file that could not be read.
  const std::vector<std::string>& notices() const { return notices_; }
  size_t spare_count() const { return spare_.size(); }
  /// Bytes of all files.
  uint64_t total_bytes() const;

  /// A file to begin a segment in, used again where one is spare (held with an exclusive lock) or new. `header` need not have its
  /// sequence, nonce and checksum yet. The caller writes the header, and then publishes or gives back the segment.
  struct Fresh {
    std::shared_ptr<Segment> segment;
    bool created;  ///< the directory must be flushed before the segment counts
  };
  Result<Fresh> take_fresh(SegmentHeader header);
  /// Sees to it that the next take_fresh need not make a file, nor the log append to one: makes a spare one of `size` bytes.
  Result<void> prepare_spare(uint64_t size);
  void publish(std::shared_ptr<Segment> segment);
  void give_back(std::shared_ptr<Segment> segment);
  /// Takes a segment out of the log: its file becomes spare.
  void retire(uint64_t sequence);
  /// Removes a spare file if there are more than `keep`, and no one uses it.
  Result<void> trim_spare(size_t keep);
  /// A reader's: lets go of the segments before `sequence` that `needed` does not name.
  template <typename Needed>
  void release_unless(Needed&& needed) {
    spare_.clear();
    std::erase_if(used_, [&](const auto& entry) { return !needed(entry.first); });
  }

 private:
  SegmentSet(Storage& storage, StoreId store_id) : storage_(&storage), store_id_(store_id) {}
  Result<void> add_file(const std::string& name, Access access);
  std::shared_ptr<Segment> take_spare();
  Result<std::shared_ptr<Segment>> create_file();

  Storage* storage_;
  StoreId store_id_;
  std::map<uint64_t, std::shared_ptr<Segment>> used_;
  std::vector<std::shared_ptr<Segment>> spare_;
  std::vector<std::string> notices_;
  uint64_t last_sequence_ = 0;
  uint64_t last_file_number_ = 0;
};

}  // namespace perdure::store
