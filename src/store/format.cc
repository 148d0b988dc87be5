#include "store/format.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#include <cstddef>
#include <cstring>

namespace perdure::store {

static_assert(std::endian::native == std::endian::little, "the store's integers are little-endian");

namespace {

constexpr uint64_t magic(const char (&text)[9]) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(text[i]);
  return value;
}
constexpr uint64_t kSuperblockMagic = magic("PrdrStor");
constexpr uint64_t kSegmentMagic = magic("PrdrSegm");
constexpr uint64_t kPartMagic = magic("PrdrPart");

template <typename T>
uint64_t checksum_of(const T& header) {
  return hash_bytes(std::as_bytes(std::span(&header, 1)).first(offsetof(T, checksum)));
}

uint64_t checksum_of(const PartHeader& header, uint64_t key) {
  return hash_bytes(std::as_bytes(std::span(&header, 1)).subspan(offsetof(PartHeader, sequence)), key);
}

template <typename T>
T load(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace

uint64_t hash_bytes(std::span<const std::byte> bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

uint64_t hash_page(const std::byte* page) { return XXH3_64bits(page, kPageSize); }

uint64_t zero_page_hash() {
  static const uint64_t hash = [] {
    const std::array<std::byte, kPageSize> zeros{};
    return hash_page(zeros.data());
  }();
  return hash;
}

bool is_zero_page(const std::byte* page) {
  // Nearly every page that is not zero shows it in its first cache line; the rest is one comparison with itself, shifted.
  constexpr size_t kProbe = 64;
  static constexpr std::byte kZeros[kProbe]{};
  return std::memcmp(page, kZeros, kProbe) == 0 && std::memcmp(page, page + kProbe, kPageSize - kProbe) == 0;
}

uint64_t segment_key(const SegmentHeader& header) {
  std::array<std::byte, 32> identity;
  std::memcpy(identity.data(), header.store_id.data(), 16);
  std::memcpy(identity.data() + 16, &header.sequence, 8);
  std::memcpy(identity.data() + 24, &header.nonce, 8);
  return hash_bytes(identity);
}

void seal(Superblock& superblock) {
  superblock.magic = kSuperblockMagic;
  superblock.version = kFormatVersion;
  superblock.checksum = checksum_of(superblock);
}

void seal(SegmentHeader& header) {
  header.magic = kSegmentMagic;
  header.version = kFormatVersion;
  header.checksum = checksum_of(header);
}

void seal_part(PartHeader& header, std::span<std::byte> head, uint64_t key) {
  header.magic = kPartMagic;
  header.entries_checksum = hash_bytes(head.subspan(sizeof header), key);
  header.header_checksum = checksum_of(header, key);
  std::memcpy(head.data(), &header, sizeof header);
}

Result<Superblock> read_superblock(std::string_view file, unsigned& damaged_copies) {
  const auto bytes = std::as_bytes(std::span(file));
  std::optional<Superblock> whole;
  damaged_copies = 0;
  for (const size_t offset : {size_t{0}, kPageSize}) {
    if (bytes.size() >= offset + sizeof(Superblock)) {
      const auto copy = load<Superblock>(bytes.subspan(offset));
      if (copy.magic == kSuperblockMagic && copy.checksum == checksum_of(copy)) {
        whole = copy;
        continue;
      }
    }
    ++damaged_copies;
  }
  if (!whole) return failure("no whole superblock");
  if (whole->version != kFormatVersion || whole->features != 0)
    return failure(fmt::format("format version {} with features {:#x}; this program knows version {} without any", whole->version,
                               whole->features, kFormatVersion));
  return *whole;
}

std::optional<SegmentHeader> read_segment_header(std::span<const std::byte> block, const StoreId& store_id, unsigned& damaged_copies) {
  std::optional<SegmentHeader> whole;
  damaged_copies = 0;
  for (const size_t offset : {uint64_t{0}, kSegmentHeaderCopy}) {
    if (block.size() >= offset + sizeof(SegmentHeader)) {
      const auto copy = load<SegmentHeader>(block.subspan(offset));
      if (copy.magic == kSegmentMagic && copy.checksum == checksum_of(copy) && copy.store_id == store_id &&
          copy.version == kFormatVersion && copy.features == 0) {
        whole = copy;
        continue;
      }
    }
    ++damaged_copies;
  }
  return whole;
}

std::optional<PartHeader> read_part_header(std::span<const std::byte> block, const SegmentHeader& segment, uint64_t offset) {
  if (block.size() < sizeof(PartHeader)) return std::nullopt;
  const auto header = load<PartHeader>(block);
  if (header.magic != kPartMagic || header.sequence != segment.sequence || header.offset != offset) return std::nullopt;
  if (header.header_checksum != checksum_of(header, segment_key(segment))) return std::nullopt;
  return header;
}

bool entries_whole(const PartHeader& header, std::span<const std::byte> head, uint64_t key) {
  return head.size() == entries_space(header) && hash_bytes(head.subspan(sizeof header), key) == header.entries_checksum;
}

}  // namespace perdure::store
