#include "store/cleaner.h"

#include <algorithm>

#include "store/page_reader.h"

namespace perdure::store {
namespace {

constexpr size_t kVictimsAtOnce = 4;
/// Index entries looked at in one step: some hundred microseconds.
constexpr size_t kScanEntries = size_t{1} << 16;

uint64_t pages_of(const Segment& segment) { return segment.file->size().value_or(0) / kPageSize; }

}  // namespace

Result<void> Cleaner::step(const Index& index, const Liveness& liveness, const SegmentSet& segments, uint64_t before_sequence,
                           uint64_t most_pages) {
  if (!staged_.empty()) return {};
  if (victims_.empty()) choose_victims(liveness, segments, before_sequence);
  if (victims_.empty()) return {};
  if (scanning_) {
    scan(index);
    return {};
  }
  return stage(index, segments, most_pages);
}

void Cleaner::choose_victims(const Liveness& liveness, const SegmentSet& segments, uint64_t before_sequence) {
  uint64_t total = 0;
  uint64_t needed = 0;
  std::vector<std::pair<double, uint64_t>> candidates;
  for (const auto& [sequence, segment] : segments.used()) {
    const uint64_t pages = pages_of(*segment);
    const auto counts = liveness.segment(sequence);
    total += pages;
    needed += 2 * counts.live + counts.held;
    const uint64_t kept = counts.live + counts.held;
    if (sequence < before_sequence && counts.live != 0 && kept < pages / 2 && !unreadable_.contains(sequence))
      candidates.emplace_back(static_cast<double>(kept) / static_cast<double>(pages), sequence);
  }
  if (total <= needed) return;
  std::sort(candidates.begin(), candidates.end());
  for (size_t i = 0; i < candidates.size() && i < kVictimsAtOnce; ++i) victims_.insert(candidates[i].second);
  scanning_ = !victims_.empty();
  cursor_ = {};
  moves_.clear();
  next_move_ = 0;
}

void Cleaner::scan(const Index& index) {
  size_t left = kScanEntries;
  for (auto at = index.spaces().lower_bound(cursor_.space); at != index.spaces().end(); ++at) {
    if (at->first != cursor_.space) cursor_ = {at->first, 0};
    const bool to_the_end = at->second.for_each(cursor_.page, kPageNumberLimit, [&](uint64_t page, const PageEntry& entry) {
      cursor_.page = page;
      if (left == 0) return false;
      --left;
      if (entry.location != kZeroPage && victims_.contains(sequence_of(entry.location)))
        moves_.push_back({entry.location, {at->first, page}});
      return true;
    });
    if (!to_the_end) return;
    cursor_ = {at->first + 1, 0};
  }
  scanning_ = false;
  std::sort(moves_.begin(), moves_.end());
}

bool Cleaner::holds(const Index& index, const Move& move) {
  const auto entry = index.find(move.page.space, move.page.page);
  return entry && entry->location == move.location;
}

Result<void> Cleaner::stage(const Index& index, const SegmentSet& segments, uint64_t most_pages) {
  std::vector<PageEntry> pages;
  PageReader::Segments sources;
  std::vector<Move> staged;
  for (; next_move_ < moves_.size(); ++next_move_) {
    const Move& move = moves_[next_move_];
    const bool same_page = !pages.empty() && pages.back().location == move.location;
    if (!same_page && pages.size() == most_pages) break;
    if (!holds(index, move) || unreadable_.contains(sequence_of(move.location))) continue;
    staged.push_back(move);
    if (same_page) continue;
    pages.push_back(*index.find(move.page.space, move.page.page));
    sources.emplace(sequence_of(move.location), segments.find(sequence_of(move.location)));
  }
  if (next_move_ == moves_.size()) victims_.clear();
  if (pages.empty()) return {};
  contents_ = allocate_aligned(pages.size() * kPageSize);
  if (!contents_) return std::unexpected(Error{"reclaim", ENOMEM});
  auto read = PageReader(std::move(sources), store_id_).read_scattered(pages, contents_.get());
  if (!read) {
    for (const PageEntry& page : pages) unreadable_.insert(sequence_of(page.location));
    return std::unexpected(std::move(read).error().in("reclaim"));
  }
  staged_ = std::move(staged);
  return {};
}

Result<void> Cleaner::write(EpochWriter& writer, const Index& index) const {
  const std::byte* contents = contents_.get();
  for (size_t i = 0; i < staged_.size(); contents += kPageSize) {
    std::vector<EpochWriter::PageNumber> at;
    const Location location = staged_[i].location;
    std::optional<PageEntry> entry;
    for (; i < staged_.size() && staged_[i].location == location; ++i) {
      if (!holds(index, staged_[i])) continue;
      at.push_back(staged_[i].page);
      entry = index.find(staged_[i].page.space, staged_[i].page.page);
    }
    if (entry) TRY(writer.moved_page(at, contents, entry->hash));
  }
  return {};
}

void Cleaner::written() {
  staged_.clear();
  contents_.reset();
}

}  // namespace perdure::store
