// Encoding and decoding of the entries of a part.
#include <cstring>

#include "store/format.h"

namespace perdure::store {

uint64_t Entry::hash(uint64_t i) const {
  uint64_t value;
  std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
  return value;
}

PageEntry Entry::placed(uint64_t i) const {
  PageEntry value;
  std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
  return value;
}

void EntryEncoder::number(uint64_t value) {
  for (; value >= 0x80; value >>= 7) to_.push_back(static_cast<std::byte>(value | 0x80));
  to_.push_back(static_cast<std::byte>(value));
}

void EntryEncoder::fixed(uint64_t value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to_.insert(to_.end(), bytes.begin(), bytes.end());
}

void EntryEncoder::text(EntryKind what, std::string_view bytes) {
  kind(what);
  number(bytes.size());
  const auto raw = std::as_bytes(std::span(bytes));
  to_.insert(to_.end(), raw.begin(), raw.end());
}

void EntryEncoder::range(EntryKind what, SpaceId space, uint64_t first, uint64_t count) {
  kind(what);
  number(space);
  number(first);
  number(count);
}

void EntryEncoder::object(ObjectId id, std::string_view bytes, bool more) {
  kind(more ? EntryKind::object_more : EntryKind::object);
  number(id);
  number(bytes.size());
  const auto raw = std::as_bytes(std::span(bytes));
  to_.insert(to_.end(), raw.begin(), raw.end());
}

void EntryEncoder::object_erased(ObjectId id) {
  kind(EntryKind::object_erased);
  number(id);
}

void EntryEncoder::pages(SpaceId space, uint64_t first, uint64_t count) { range(EntryKind::pages, space, first, count); }
void EntryEncoder::zero_pages(SpaceId space, uint64_t first, uint64_t count) { range(EntryKind::zero_pages, space, first, count); }
void EntryEncoder::placed_pages(SpaceId space, uint64_t first, uint64_t count) { range(EntryKind::placed_pages, space, first, count); }
void EntryEncoder::erased_pages(SpaceId space, uint64_t first, uint64_t count) { range(EntryKind::erased_pages, space, first, count); }

void EntryEncoder::add_placed(PageEntry entry) {
  fixed(entry.location);
  fixed(entry.hash);
}

void EntryEncoder::same_page(SpaceId space, uint64_t page) {
  kind(EntryKind::same_page);
  number(space);
  number(page);
}

void EntryEncoder::erased_space(SpaceId space) {
  kind(EntryKind::erased_space);
  number(space);
}

void EntryEncoder::cloned_space(SpaceId from, SpaceId to) {
  kind(EntryKind::cloned_space);
  number(from);
  number(to);
}

void EntryEncoder::snapshot_root(const SnapshotRoot& root) {
  kind(EntryKind::snapshot_root);
  number(root.epoch);
  number(root.pieces.size());
  fixed(root.next.sequence);
  fixed(root.next.offset);
  for (const Place& piece : root.pieces) {
    fixed(piece.sequence);
    fixed(piece.offset);
  }
}

bool EntryDecoder::number(uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && !left_.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(left_[0]);
    left_ = left_.subspan(1);
    value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool EntryDecoder::take(uint64_t size, std::span<const std::byte>& bytes) {
  if (size > left_.size()) return false;
  bytes = left_.first(size);
  left_ = left_.subspan(size);
  return true;
}

bool EntryDecoder::range(Entry& entry) {
  return number(entry.id) && number(entry.first) && number(entry.count) && entry.first < kPageNumberLimit &&
         entry.count <= kPageNumberLimit - entry.first;
}

bool EntryDecoder::decode(Entry& entry) {
  uint64_t size = 0;
  switch (entry.kind) {
    case EntryKind::object:
    case EntryKind::object_more: return number(entry.id) && number(size) && take(size, entry.bytes);
    case EntryKind::object_erased:
    case EntryKind::erased_space: return number(entry.id);
    case EntryKind::pages: return range(entry) && entry.count <= left_.size() && take(entry.count * 8, entry.bytes);
    case EntryKind::placed_pages: return range(entry) && entry.count <= left_.size() && take(entry.count * 16, entry.bytes);
    case EntryKind::zero_pages:
    case EntryKind::erased_pages: return range(entry);
    case EntryKind::same_page: return number(entry.id) && number(entry.first) && entry.first < kPageNumberLimit;
    case EntryKind::cloned_space: return number(entry.id) && number(entry.first);
    case EntryKind::label:
    case EntryKind::attributes: return number(size) && take(size, entry.bytes);
    case EntryKind::snapshot_root:
      return number(entry.id) && number(entry.count) && entry.count <= left_.size() && take(16 + entry.count * 16, entry.bytes);
  }
  return false;
}

bool EntryDecoder::next(Entry& entry) {
  if (left_.empty() || failed_) return false;
  entry = Entry{.kind = static_cast<EntryKind>(left_[0]), .bytes = {}};
  left_ = left_.subspan(1);
  failed_ = !decode(entry);
  return !failed_;
}

std::optional<SnapshotRoot> decode_snapshot_root(const Entry& entry) {
  if (entry.kind != EntryKind::snapshot_root) return std::nullopt;
  SnapshotRoot root{.epoch = entry.id, .next = {entry.hash(0), entry.hash(1)}, .pieces = {}};
  for (uint64_t i = 0; i < entry.count; ++i) root.pieces.push_back({entry.hash(2 + 2 * i), entry.hash(3 + 2 * i)});
  return root;
}

}  // namespace perdure::store
