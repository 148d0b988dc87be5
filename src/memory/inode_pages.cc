#include "memory/inode_pages.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace perdure::memory {

namespace {

constexpr uint64_t kChunkPages = 256;
constexpr uint64_t kEverything = 1ull << 51;  // more pages than any file has

/// Never 0, which stands for an absent page.
uint64_t hash_of(const std::byte* page) {
  const uint64_t hash = XXH3_64bits(page, kPageSize);
  return hash == 0 ? 1 : hash;
}

struct Extent {
  uint64_t start;  ///< bytes
  uint64_t end;
};

/// The next stretch with data at or behind `from`; nothing when only holes are left. File systems that cannot tell have data everywhere.
Result<std::optional<Extent>> next_data(int file, uint64_t from, uint64_t size) {
  if (from >= size) return std::optional<Extent>{};
  const off_t start = lseek(file, static_cast<off_t>(from), SEEK_DATA);
  if (start < 0) {
    if (errno == ENXIO) return std::optional<Extent>{};
    if (errno == EINVAL || errno == ESPIPE) return std::optional<Extent>{{from, size}};
    return system_error("find the data of a file");
  }
  const off_t end = lseek(file, start, SEEK_HOLE);
  if (end < 0) return system_error("find the holes of a file");
  return std::optional<Extent>{{static_cast<uint64_t>(start), static_cast<uint64_t>(end)}};
}

}  // namespace

InodePages::Hashes InodePages::hashes_of(const store::View& view, store::SpaceId space) {
  Hashes hashes;
  for (const auto& run : view.runs(space, 0, kEverything)) {
    for (uint64_t page = run.first; page < run.first + run.count; ++page) {
      hashes[page / kBlockPages][page % kBlockPages] = std::max<uint64_t>(view.page_hash(space, page).value_or(0), 1);
    }
  }
  return hashes;
}

std::optional<uint64_t> InodePages::hash(uint64_t page) const {
  const auto block = hashes_.find(page / kBlockPages);
  if (block == hashes_.end() || block->second[page % kBlockPages] == 0) return {};
  return block->second[page % kBlockPages];
}

Result<void> InodePages::take_all(store::Changes& changes) { return take({0, kEverything}, changes); }

Result<void> InodePages::take(PageRun range, store::Changes& changes) {
  struct stat status {};
  if (fstat(file_.get(), &status) != 0) return system_error("stat a file");
  uint64_t page = range.first;
  while (page < range.end()) {
    const auto extent = TRY(next_data(file_.get(), page * kPageSize, static_cast<uint64_t>(status.st_size)));
    if (!extent) break;
    const uint64_t first = std::min(extent->start / kPageSize, range.end());
    const uint64_t end = std::min(align_up(extent->end, kPageSize) / kPageSize, range.end());
    if (first > page) erase({page, first - page}, changes);
    if (end > first) TRY(take_data({first, end - first}, changes));
    page = std::max(end, page + 1);
  }
  if (page < range.end()) erase({page, range.end() - page}, changes);
  return {};
}

Result<void> InodePages::take_data(PageRun range, store::Changes& changes) {
  if (buffer_ == nullptr) buffer_ = allocate_aligned(kChunkPages * kPageSize);
  if (buffer_ == nullptr) return failure("no memory to copy pages into");
  for (uint64_t first = range.first; first < range.end(); first += kChunkPages) {
    const uint64_t count = std::min(kChunkPages, range.end() - first);
    std::memset(buffer_.get(), 0, count * kPageSize);
    for (uint64_t done = 0; done < count * kPageSize;) {
      const ssize_t got = ::pread(file_.get(), buffer_.get() + done, count * kPageSize - done, static_cast<off_t>(first * kPageSize + done));
      if (got < 0) return system_error("read a file's contents");
      if (got == 0) break;
      done += static_cast<uint64_t>(got);
    }
    std::vector<uint64_t> changed;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t page = first + i;
      uint64_t& known = hashes_.try_emplace(page / kBlockPages).first->second[page % kBlockPages];
      const uint64_t hash = hash_of(buffer_.get() + i * kPageSize);
      if (known != hash) changed.push_back(i);
      known = hash;
    }
    if (changed.empty()) continue;
    std::byte* staged = changes.allocate_pages(changed.size());
    if (staged == nullptr) return failure("no memory to copy pages into");
    for (const uint64_t i : changed) {
      std::memcpy(staged, buffer_.get() + i * kPageSize, kPageSize);
      changes.put_page(space_, first + i, staged);
      staged += kPageSize;
    }
  }
  return {};
}

void InodePages::erase(PageRun range, store::Changes& changes) {
  for (auto block = hashes_.lower_bound(range.first / kBlockPages); block != hashes_.end(); ++block) {
    const uint64_t base = block->first * kBlockPages;
    if (base >= range.end()) break;
    for (uint64_t i = 0; i < kBlockPages; ++i) {
      const uint64_t page = base + i;
      if (page < range.first || page >= range.end() || block->second[i] == 0) continue;
      block->second[i] = 0;
      changes.erase_pages(space_, page, 1);
    }
  }
}

}  // namespace perdure::memory
