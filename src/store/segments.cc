#include "store/segments.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace perdure::store {
namespace {

constexpr std::string_view kSuffix = ".segment";
constexpr size_t kWindow = size_t{64} << 10;

std::string file_name(uint64_t number) { return fmt::format("{:08}{}", number, kSuffix); }

std::optional<uint64_t> file_number(std::string_view name) {
  if (!name.ends_with(kSuffix)) return std::nullopt;
  name.remove_suffix(kSuffix.size());
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? std::optional(number) : std::nullopt;
}

Result<uint64_t> random_number() {
  uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != sizeof value) return system_error("getrandom");
  return value;
}

}  // namespace

std::shared_ptr<const Segment> pin(std::shared_ptr<Segment> segment) {
  segment->pins.fetch_add(1, std::memory_order_relaxed);
  const Segment* raw = segment.get();
  return {raw, [owner = std::move(segment)](const Segment*) { owner->pins.fetch_sub(1, std::memory_order_release); }};
}

Result<std::span<const std::byte>> SegmentReader::bytes(uint64_t offset, size_t size) {
  if (offset < window_offset_ || offset + size > window_offset_ + window_size_) {
    const size_t wanted = align_up(std::max(size, kWindow), kPageSize);
    if (wanted > window_space_) {
      window_size_ = 0;
      window_ = allocate_aligned(wanted);
      if (!window_) return std::unexpected(Error{"read " + segment_.name, ENOMEM});
      window_space_ = wanted;
    }
    window_offset_ = offset;
    window_size_ = 0;
    auto got = segment_.file->read(offset, {window_.get(), wanted});
    // A bad block elsewhere in the window is none of the caller's business.
    if (!got && size < wanted) got = segment_.file->read(offset, {window_.get(), align_up(size, kPageSize)});
    window_size_ = TRY(std::move(got));
  }
  const size_t start = offset - window_offset_;
  return std::span<const std::byte>(window_.get() + std::min(start, window_size_),
                                    std::min(size, window_size_ - std::min(start, window_size_)));
}

Result<std::optional<PartHeader>> SegmentReader::part_header(uint64_t offset) {
  return read_part_header(TRY(bytes(offset, kPageSize)), segment_.header, offset);
}

Result<std::span<const std::byte>> SegmentReader::entries(const PartHeader& header) {
  const auto head = TRY(bytes(header.offset, entries_space(header)));
  if (!entries_whole(header, head, segment_.key))
    return failure(fmt::format("{} at {}: the entries of epoch {} are damaged", segment_.name, header.offset, header.epoch));
  return head.subspan(sizeof(PartHeader), header.entries_bytes);
}

Result<std::vector<uint64_t>> SegmentReader::damaged_data(const PartHeader& header) {
  const auto bytes_of_entries = TRY(entries(header));
  std::vector<uint64_t> hashes;
  EntryDecoder decoder(bytes_of_entries);
  for (Entry entry; decoder.next(entry);)
    if (entry.kind == EntryKind::pages)
      for (uint64_t i = 0; i < entry.count; ++i) hashes.push_back(entry.hash(i));
  std::vector<uint64_t> damaged;
  if (decoder.failed() || hashes.size() != header.data_pages) damaged.push_back(header.offset);
  const uint64_t data = header.offset + entries_space(header);
  for (size_t i = 0; i < hashes.size(); ++i) {
    const uint64_t offset = data + i * kPageSize;
    const auto page = TRY(bytes(offset, kPageSize));
    if (page.size() != kPageSize || hash_page(page.data()) != hashes[i]) damaged.push_back(offset);
  }
  return damaged;
}

Result<SegmentSet> SegmentSet::open(Storage& storage, const StoreId& store_id, Access access) {
  SegmentSet set(storage, store_id);
  auto names = TRY(storage.list());
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const auto number = file_number(name);
    if (!number) continue;
    set.last_file_number_ = std::max(set.last_file_number_, *number);
    TRY(set.add_file(name, access));
  }
  return set;
}

Result<void> SegmentSet::add_file(const std::string& name, Access access) {
  const bool reader = access == Access::read;
  auto file = storage_->open(name, reader ? Storage::Access::read_only : Storage::Access::read_write, Storage::Caching::direct);
  if (!file && reader && file.error().error_number == ENOENT) return {};
  if (!file) return std::unexpected(std::move(file).error());
  auto segment = std::make_shared<Segment>(name, std::move(*file));
  if (reader && !segment->file->try_lock(File::Lock::shared)) return {};
  SegmentReader head(*segment);
  const auto block = head.bytes(0, kPageSize);
  if (!block) {
    // Left alone, not used again: a later try may be able to read it.
    notices_.push_back(block.error().message());
    return {};
  }
  const auto header = read_segment_header(*block, store_id_, segment->damaged_copies);
  if (!header) {
    spare_.push_back(std::move(segment));
    return {};
  }
  segment->header = *header;
  segment->key = segment_key(*header);
  publish(std::move(segment));
  return {};
}

std::shared_ptr<Segment> SegmentSet::find(uint64_t sequence) const {
  const auto found = used_.find(sequence);
  return found == used_.end() ? nullptr : found->second;
}

uint64_t SegmentSet::total_bytes() const {
  uint64_t sum = 0;
  for (const auto& [sequence, segment] : used_) sum += segment->file->size().value_or(0);
  for (const auto& segment : spare_) sum += segment->file->size().value_or(0);
  return sum;
}

std::shared_ptr<Segment> SegmentSet::take_spare() {
  for (auto at = spare_.begin(); at != spare_.end(); ++at) {
    if ((*at)->pinned() || (*at)->file->initializing() || !(*at)->file->try_lock(File::Lock::exclusive)) continue;
    auto segment = std::move(*at);
    spare_.erase(at);
    return segment;
  }
  return nullptr;
}

Result<SegmentSet::Fresh> SegmentSet::take_fresh(SegmentHeader header) {
  header.store_id = store_id_;
  header.nonce = TRY(random_number());
  header.sequence = ++last_sequence_;
  seal(header);
  Fresh fresh{take_spare(), false};
  if (!fresh.segment) {
    fresh = {TRY(create_file()), true};
  }
  fresh.segment->header = header;
  fresh.segment->key = segment_key(header);
  fresh.segment->damaged_copies = 0;
  return fresh;
}

Result<std::shared_ptr<Segment>> SegmentSet::create_file() {
  const std::string name = file_name(last_file_number_ + 1);
  auto file = TRY(storage_->open(name, Storage::Access::create, Storage::Caching::direct));
  ++last_file_number_;
  return std::make_shared<Segment>(name, std::move(file));
}

Result<void> SegmentSet::prepare_spare(uint64_t size) {
  if (!spare_.empty()) return {};
  auto segment = TRY(create_file());
  TRY(storage_->sync_directory());
  segment->file->initialize(size);
  spare_.push_back(std::move(segment));
  return {};
}

void SegmentSet::publish(std::shared_ptr<Segment> segment) {
  last_sequence_ = std::max(last_sequence_, segment->header.sequence);
  used_[segment->header.sequence] = std::move(segment);
}

void SegmentSet::give_back(std::shared_ptr<Segment> segment) {
  segment->file->unlock();
  spare_.push_back(std::move(segment));
}

void SegmentSet::retire(uint64_t sequence) {
  const auto found = used_.find(sequence);
  if (found == used_.end()) return;
  spare_.push_back(std::move(found->second));
  used_.erase(found);
}

Result<void> SegmentSet::trim_spare(size_t keep) {
  if (spare_.size() <= keep) return {};
  const auto unused = std::find_if(spare_.begin(), spare_.end(), [](const auto& segment) { return !segment->pinned() && !segment->file->initializing(); });
  if (unused == spare_.end()) return {};
  const auto segment = std::move(*unused);
  spare_.erase(unused);
  return storage_->remove(segment->name, std::move(segment->file));
}

}  // namespace perdure::store
