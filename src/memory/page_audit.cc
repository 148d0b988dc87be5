#include "memory/page_audit.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/bytes.h"
#include "linux/process.h"

namespace perdure::memory {

namespace {

constexpr uint64_t kAuditedAtOnce = 256;
constexpr uint64_t kAllPages = 1ull << 51;

uint64_t zero_hash() {
  static constexpr std::array<std::byte, kPageSize> kZero{};
  return XXH3_64bits(kZero.data(), kPageSize);
}

void add_hashes(std::span<const std::byte> bytes, uint64_t page, std::map<uint64_t, uint64_t>& hashes) {
  for (size_t at = 0; at < bytes.size(); at += kPageSize) hashes[page++] = XXH3_64bits(bytes.data() + at, kPageSize);
}

}  // namespace

Result<void> PageAudit::add_range(const TrackedSpace& space, const TrackedRange& range, Space& pages) {
  const AlignedBytes buffer = allocate_aligned(kAuditedAtOnce * kPageSize);
  if (buffer == nullptr) return failure("out of memory");
  const Fd memory = TRY(open_process_memory(space.host_pid()));
  for (const PageRun& run : TRY(space.own_pages(range))) {
    for (uint64_t first = run.first; first < run.end(); first += kAuditedAtOnce) {
      const std::span<std::byte> chunk(buffer.get(), std::min(kAuditedAtOnce, run.end() - first) * kPageSize);
      TRY(read_memory(memory.get(), first * kPageSize, chunk));
      add_hashes(chunk, first, pages.hashes);
    }
  }
  return {};
}

Result<void> PageAudit::add_space(const TrackedSpace& space, store::SpaceId id) {
  Space& pages = spaces_[id];
  for (const TrackedRange& range : space.ranges()) {
    if (range.kind == TrackedRange::Kind::shared) continue;
    if (range.kind == TrackedRange::Kind::private_file) {
      pages.of_files.insert({range.start / kPageSize, (range.end - range.start) / kPageSize});
    }
    TRY(add_range(space, range, pages));
  }
  return {};
}

Result<void> PageAudit::add_inode(int file, store::SpaceId id) {
  Space& pages = spaces_[id];
  const AlignedBytes buffer = allocate_aligned(kAuditedAtOnce * kPageSize);
  if (buffer == nullptr) return failure("out of memory");
  for (uint64_t offset = 0;;) {
    const off_t data = lseek(file, static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return {};
    // Where holes cannot be told, all is data.
    offset = data < 0 ? offset : align_down(static_cast<uint64_t>(data), kPageSize);
    const ssize_t got = ::pread(file, buffer.get(), kAuditedAtOnce * kPageSize, static_cast<off_t>(offset));
    if (got < 0) return system_error("read a file's contents");
    if (got == 0) return {};
    const uint64_t size = align_up(static_cast<uint64_t>(got), kPageSize);
    std::fill(buffer.get() + got, buffer.get() + size, std::byte{0});
    add_hashes({buffer.get(), size}, offset / kPageSize, pages.hashes);
    offset += size;
  }
}

std::vector<std::string> PageAudit::compare(const store::View& view) const {
  std::vector<std::string> differences;
  const auto tell = [&](store::SpaceId id, uint64_t page, const char* what) {
    differences.push_back(fmt::format("space {}, page at {:x}: {}", id, page * kPageSize, what));
  };
  const uint64_t zero = zero_hash();
  for (const auto& [id, space] : spaces_) {
    for (const auto& [page, hash] : space.hashes) {
      const auto stored = view.page_hash(id, page);
      if (stored == hash) continue;
      if (stored) tell(id, page, "the store has other contents");
      else if (hash != zero || space.of_files.contains(page)) tell(id, page, "the store does not have it");
    }
    for (const auto& run : view.runs(id, 0, kAllPages)) {
      for (uint64_t page = run.first; page < run.first + run.count; ++page) {
        if (space.hashes.contains(page)) continue;
        if (space.of_files.contains(page) || view.page_hash(id, page) != zero) tell(id, page, "the group does not have it");
      }
    }
  }
  return differences;
}

}  // namespace perdure::memory
