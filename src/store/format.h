// The bytes of a store: see docs/store-format.md, which this mirrors.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "store/changes.h"
#include "store/page_tree.h"

namespace perdure::store {

inline constexpr uint32_t kFormatVersion = 1;
using StoreId = std::array<uint8_t, 16>;

/// Where a page lies: segment sequence << 24 | number of the 4 KiB block in the segment. 0: a zero page, stored without data.
using Location = uint64_t;
inline constexpr Location kZeroPage = 0;
inline constexpr unsigned kBlockBits = 24;
constexpr Location make_location(uint64_t sequence, uint64_t offset) { return sequence << kBlockBits | offset / kPageSize; }
constexpr uint64_t sequence_of(Location location) { return location >> kBlockBits; }
constexpr uint64_t offset_of(Location location) { return (location & ((uint64_t{1} << kBlockBits) - 1)) * kPageSize; }

uint64_t hash_bytes(std::span<const std::byte> bytes, uint64_t seed = 0);
uint64_t hash_page(const std::byte* page);
uint64_t zero_page_hash();
bool is_zero_page(const std::byte* page);

/// The file "store": says that a directory is a store, and which. Two copies, each in a block of its own.
struct Superblock {
  uint64_t magic;
  uint32_t version;
  uint32_t features;  ///< flags of what a reader must know; none yet
  StoreId store_id;
  int64_t created_ns;
  uint64_t reserved[2];
  uint64_t checksum;  ///< over all before it
};
static_assert(sizeof(Superblock) == 64);

/// The first block of a segment file holds two copies, at 0 and 2048. A segment is named by its sequence, never its file: a file
/// that is used again becomes a segment with a new sequence.
struct SegmentHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t features;
  StoreId store_id;
  uint64_t sequence;           ///< from 1, growing
  uint64_t nonce;              ///< random; two attempts at one sequence are told apart by it
  uint64_t previous_sequence;  ///< where the log came from: this segment continues it behind previous_end; 0: it begins here
  uint64_t previous_end;       ///< bytes of that segment that belong to the log
  int64_t created_ns;
  uint64_t reserved[6];
  uint64_t checksum;  ///< over all before it
};
static_assert(sizeof(SegmentHeader) == 128);
inline constexpr uint64_t kSegmentHeaderBytes = kPageSize;
inline constexpr uint64_t kSegmentHeaderCopy = 2048;

/// Flags of a part.
enum PartFlag : uint32_t {
  kPartCommit = 1,        ///< the last part of an epoch
  kPartSnapshot = 2,      ///< its entries are a piece of a snapshot of the index, not changes
  kPartSnapshotRoot = 4,  ///< a commit whose entries hold the root of a complete snapshot
};

/// Begins a part: header, entries (padded with zeros to a block), data pages. An epoch is one part or more.
struct PartHeader {
  uint64_t magic = 0;
  uint64_t header_checksum = 0;    ///< over what follows in this struct, seeded by the segment's key
  uint64_t sequence = 0;           ///< place: the segment,
  uint64_t offset = 0;             ///< and the byte in it where this header lies
  uint64_t previous_checksum = 0;  ///< header_checksum of the part before this one in the log; 0 for the first of all
  uint64_t epoch = 0;
  uint32_t part_number = 0;    ///< within the epoch, from 0
  uint32_t flags = 0;          ///< PartFlag
  uint64_t entries_bytes = 0;  ///< entries behind this header, padding not counted
  uint64_t entries_checksum = 0;  ///< over entries and padding, seeded by the segment's key
  uint32_t data_pages = 0;
  uint32_t flushed_parts = 0;  ///< commit: this many first parts of the epoch were durable before this one was written
  // Commit only:
  int64_t realtime_ns = 0;
  uint64_t oldest_epoch = 0;     ///< the oldest that can be viewed, from now on
  uint64_t replay_sequence = 0;  ///< the changes of all epochs that can be viewed are in segments from this one on
  uint64_t page_count = 0;
  uint64_t stored_bytes = 0;
  uint64_t previous_epoch = 0;  ///< the epoch these changes are relative to; 0: none
};
static_assert(sizeof(PartHeader) == 128);

inline uint64_t entries_space(const PartHeader& part) { return align_up(sizeof(PartHeader) + part.entries_bytes, kPageSize); }
inline uint64_t part_space(const PartHeader& part) { return entries_space(part) + uint64_t{part.data_pages} * kPageSize; }

/// What every checksum of a segment is seeded with: it ties them to the store and to this use of the space.
uint64_t segment_key(const SegmentHeader& header);

void seal(Superblock& superblock);
void seal(SegmentHeader& header);
/// Sets the place and both checksums of the part whose header begins `head` (header, entries, padding).
void seal_part(PartHeader& header, std::span<std::byte> head, uint64_t key);

/// Whichever copy is whole; `damaged_copies` counts the other ones. Error when none is, or when the version is unknown.
Result<Superblock> read_superblock(std::string_view file, unsigned& damaged_copies);
std::optional<SegmentHeader> read_segment_header(std::span<const std::byte> block, const StoreId& store_id, unsigned& damaged_copies);
/// The part header at `offset` of a segment; nullopt when there is none that belongs there.
std::optional<PartHeader> read_part_header(std::span<const std::byte> block, const SegmentHeader& segment, uint64_t offset);
/// Whether the entries (`head`: header, entries, padding) are whole.
bool entries_whole(const PartHeader& header, std::span<const std::byte> head, uint64_t key);

/// The kinds of entries in a part.
enum class EntryKind : uint8_t {
  object = 1,         ///< id, bytes
  object_more = 2,    ///< id, bytes: follow those of the entry before
  object_erased = 3,  ///< id
  pages = 4,          ///< space, first, count, hash of each; contents: the part's next `count` data pages
  zero_pages = 5,     ///< space, first, count
  placed_pages = 6,   ///< space, first, count, {location, hash} of each: contents already stored (in snapshots)
  erased_pages = 7,   ///< space, first, count
  erased_space = 8,   ///< space
  cloned_space = 9,   ///< from, to; entries of this kind in a row apply at once
  label = 10,         ///< bytes
  attributes = 11,    ///< bytes
  same_page = 12,     ///< space, page; contents: the same data page that the last page of the `pages` before it has
  snapshot_root = 13, ///< epoch, sequence and offset where the epoch after it begins, piece count, {sequence, offset} of each
};

/// A place in the log.
struct Place {
  uint64_t sequence = 0;
  uint64_t offset = 0;
  auto operator<=>(const Place&) const = default;
};

/// A complete image of the index, from which later epochs are reached by replaying changes.
struct SnapshotRoot {
  EpochNumber epoch = 0;  ///< the epoch whose index it is
  Place next;             ///< where the log went on after that epoch
  std::vector<Place> pieces;
};

/// One entry, decoded; `bytes` points into what it was decoded from.
struct Entry {
  EntryKind kind;
  uint64_t id = 0;     ///< object or space; cloned_space: from
  uint64_t first = 0;  ///< first page; cloned_space: to
  uint64_t count = 0;
  std::span<const std::byte> bytes;  ///< contents, or the array of hashes or places

  uint64_t hash(uint64_t i) const;     ///< pages
  PageEntry placed(uint64_t i) const;  ///< placed_pages
};

/// Appends entries to a byte string.
class EntryEncoder {
 public:
  explicit EntryEncoder(std::vector<std::byte>& to) : to_(to) {}
  void object(ObjectId id, std::string_view bytes, bool more);
  void object_erased(ObjectId id);
  /// The hashes follow by add_hash.
  void pages(SpaceId space, uint64_t first, uint64_t count);
  void add_hash(uint64_t hash) { fixed(hash); }
  void zero_pages(SpaceId space, uint64_t first, uint64_t count);
  /// The places follow by add_placed.
  void placed_pages(SpaceId space, uint64_t first, uint64_t count);
  void add_placed(PageEntry entry);
  void same_page(SpaceId space, uint64_t page);
  void erased_pages(SpaceId space, uint64_t first, uint64_t count);
  void erased_space(SpaceId space);
  void cloned_space(SpaceId from, SpaceId to);
  void label(std::string_view bytes) { text(EntryKind::label, bytes); }
  void attributes(std::string_view bytes) { text(EntryKind::attributes, bytes); }
  void snapshot_root(const SnapshotRoot& root);

 private:
  void kind(EntryKind value) { to_.push_back(static_cast<std::byte>(value)); }
  void number(uint64_t value);
  void fixed(uint64_t value);
  void text(EntryKind kind, std::string_view bytes);
  void range(EntryKind kind, SpaceId space, uint64_t first, uint64_t count);

  std::vector<std::byte>& to_;
};

/// Takes entries apart; every length is checked.
class EntryDecoder {
 public:
  explicit EntryDecoder(std::span<const std::byte> bytes) : left_(bytes) {}
  /// False at the end, and when the bytes are no entries: failed() tells which.
  bool next(Entry& entry);
  bool failed() const { return failed_; }

 private:
  bool number(uint64_t& value);
  bool take(uint64_t size, std::span<const std::byte>& bytes);
  bool range(Entry& entry);
  bool decode(Entry& entry);

  std::span<const std::byte> left_;
  bool failed_ = false;
};

std::optional<SnapshotRoot> decode_snapshot_root(const Entry& entry);

}  // namespace perdure::store
