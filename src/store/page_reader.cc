#include "store/page_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace perdure::store {
namespace {

constexpr size_t kLargestRead = 512;  // pages

/// How many of the leading pages lie one behind the other in one segment (or are all zero pages).
size_t run_length(std::span<const PageEntry> pages) {
  size_t run = 1;
  const uint64_t step = pages[0].location == kZeroPage ? 0 : 1;
  while (run < pages.size() && run < kLargestRead && pages[run].location == pages[0].location + run * step) ++run;
  return run;
}

}  // namespace

Error PageReader::damage(const Segment& segment, uint64_t offset) const {
  // Told apart for the user's sake only: the contents are refused either way.
  if (const auto block = allocate_aligned(kPageSize)) {
    const auto got = segment.file->read(0, {block.get(), kPageSize});
    unsigned damaged_copies = 0;
    const auto header = got ? read_segment_header({block.get(), *got}, store_id_, damaged_copies) : std::nullopt;
    if (header && header->nonce != segment.header.nonce)
      return {fmt::format("{}: its space has been reclaimed meanwhile", segment.name), ESTALE};
  }
  return {fmt::format("{} at {}: a page is damaged", segment.name, offset), EIO};
}

Result<void> PageReader::read_run(std::span<const PageEntry> pages, std::byte* to) const {
  if (pages[0].location == kZeroPage) {
    std::memset(to, 0, pages.size() * kPageSize);
    return {};
  }
  const Segment& segment = *TRY(segment_of(pages[0]));
  const uint64_t offset = offset_of(pages[0].location);
  const size_t got = TRY(segment.file->read(offset, {to, pages.size() * kPageSize}));
  for (size_t i = 0; i < pages.size(); ++i)
    if ((i + 1) * kPageSize > got || hash_page(to + i * kPageSize) != pages[i].hash)
      return std::unexpected(damage(segment, offset + i * kPageSize));
  return {};
}

Result<void> PageReader::read(std::span<const PageEntry> pages, std::byte* to) const {
  while (!pages.empty()) {
    const size_t run = run_length(pages);
    TRY(read_run(pages.first(run), to));
    pages = pages.subspan(run);
    to += run * kPageSize;
  }
  return {};
}

Result<const Segment*> PageReader::segment_of(const PageEntry& page) const {
  const auto found = segments_.find(sequence_of(page.location));
  if (found == segments_.end())
    return std::unexpected(Error{fmt::format("segment {} of the log is missing", sequence_of(page.location)), ENOENT});
  return found->second.get();
}

Result<void> PageReader::read_span(std::span<const PageEntry> pages, std::byte* to) const {
  const Location first = pages.front().location;
  const size_t size = (pages.back().location - first + 1) * kPageSize;
  const Segment& segment = *TRY(segment_of(pages.front()));
  const size_t got = TRY(segment.file->read(offset_of(first), {to, size}));
  for (const PageEntry& page : pages) {
    const size_t at = (page.location - first) * kPageSize;
    if (at + kPageSize > got || hash_page(to + at) != page.hash) return std::unexpected(damage(segment, offset_of(page.location)));
  }
  return {};
}

Result<void> PageReader::read_scattered(std::span<const PageEntry> pages, std::byte* to) const {
  const AlignedBytes buffer = allocate_aligned(kLargestRead * kPageSize);
  if (!buffer) return std::unexpected(Error{"read the store", ENOMEM});
  while (!pages.empty()) {
    const Location first = pages[0].location;
    size_t count = 1;
    while (count < pages.size() && pages[count].location - first < kLargestRead &&
           sequence_of(pages[count].location) == sequence_of(first))
      ++count;
    TRY(read_span(pages.first(count), buffer.get()));
    for (const PageEntry& page : pages.first(count)) {
      std::memcpy(to, buffer.get() + (page.location - first) * kPageSize, kPageSize);
      to += kPageSize;
    }
    pages = pages.subspan(count);
  }
  return {};
}

Result<void> PageReader::check(std::span<const PageEntry> pages, const std::function<void(size_t, const Error&)>& damaged,
                               const std::function<void(uint64_t)>& progress) const {
  const AlignedBytes buffer = allocate_aligned(kLargestRead * kPageSize);
  if (!buffer) return std::unexpected(Error{"verify", ENOMEM});
  for (size_t done = 0; done < pages.size();) {
    const size_t run = run_length(pages.subspan(done));
    if (!read_run(pages.subspan(done, run), buffer.get())) {
      for (size_t i = done; i < done + run; ++i)
        if (auto one = read_run(pages.subspan(i, 1), buffer.get()); !one) damaged(i, one.error());
    }
    done += run;
    if (progress) progress(done);
  }
  return {};
}

PageReader::Segments segments_of(const Index& index, const SegmentSet& segments) {
  PageReader::Segments needed;
  uint64_t last = 0;
  for (const auto& [id, tree] : index.spaces())
    tree.for_each([&](uint64_t, const PageEntry& entry) {
      const uint64_t sequence = sequence_of(entry.location);
      if (sequence == last || sequence == 0) return true;
      last = sequence;
      if (needed.contains(sequence)) return true;
      if (auto segment = segments.find(sequence)) needed.emplace(sequence, pin(std::move(segment)));
      return true;
    });
  return needed;
}

}  // namespace perdure::store
