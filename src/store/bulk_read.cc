#include "store/bulk_read.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>
#include <vector>

namespace perdure::store {
namespace {

constexpr size_t kPagesAtOnce = 256;
/// What lies between two wanted pages is read with them where it is less than a read of its own costs.
constexpr uint64_t kGapPagesMax = 16;
/// While some threads wait for the disk, others copy.
constexpr unsigned kThreadsPerProcessor = 2;
constexpr unsigned kThreadsMax = 8;

struct Wanted {
  PageEntry entry;
  SpaceId space;
  uint64_t page;
};

std::vector<Wanted> wanted_pages(const Index& index, std::span<const SpaceId> spaces) {
  std::vector<Wanted> pages;
  for (const SpaceId space : spaces) {
    const PageTree* tree = index.space(space);
    if (tree == nullptr) continue;
    pages.reserve(pages.size() + tree->size());
    tree->for_each([&](uint64_t page, const PageEntry& entry) {
      pages.push_back({entry, space, page});
      return true;
    });
  }
  std::ranges::sort(pages, {}, [](const Wanted& wanted) { return std::tuple(wanted.entry.location, wanted.space, wanted.page); });
  return pages;
}

/// How many of the leading pages one read gets.
size_t batch_length(std::span<const Wanted> pages) {
  size_t length = 1;
  const Location first = pages[0].entry.location;
  while (length < pages.size() && length < kPagesAtOnce) {
    const Location last = pages[length - 1].entry.location;
    const Location next = pages[length].entry.location;
    if (sequence_of(next) != sequence_of(first) || next - last > kGapPagesMax || next - first >= kPagesAtOnce) break;
    ++length;
  }
  return length;
}

class BulkRead {
 public:
  BulkRead(std::vector<Wanted> pages, const PageReader& reader, const std::function<Result<void>(std::span<const View::Extent>)>& take)
      : pages_(std::move(pages)), reader_(reader), take_(take) {
    for (size_t at = 0; at < pages_.size();) {
      const size_t length = batch_length(std::span(pages_).subspan(at));
      batches_.push_back(std::span(pages_).subspan(at, length));
      at += length;
    }
  }

  Result<void> run(View::Pace pace) {
    const unsigned threads_wanted = std::clamp(std::thread::hardware_concurrency() * kThreadsPerProcessor, 1u, kThreadsMax);
    const size_t threads = pace == View::Pace::considerate ? 1 : std::min<size_t>(threads_wanted, batches_.size());
    // The log grows at its end.
    if (pace == View::Pace::considerate) std::ranges::reverse(batches_);
    {
      std::vector<std::jthread> others;
      for (size_t i = 1; i < threads; ++i) others.emplace_back([this] { work(); });
      work();
    }
    if (error_) return std::unexpected(std::move(*error_));
    return {};
  }

 private:
  void work() {
    const AlignedBytes buffer = allocate_aligned(kPagesAtOnce * kPageSize);
    if (!buffer) return fail({"read the store", ENOMEM});
    while (!failed_) {
      const size_t next = next_batch_++;
      if (next >= batches_.size()) return;
      if (auto done = read(batches_[next], buffer.get()); !done) fail(std::move(done).error());
    }
  }

  Result<void> read(std::span<const Wanted> batch, std::byte* buffer) const {
    const bool zeros = batch[0].entry.location == kZeroPage;
    const auto place_of = [&](const Wanted& wanted) {
      const uint64_t place = zeros ? static_cast<uint64_t>(&wanted - batch.data()) : wanted.entry.location - batch[0].entry.location;
      return buffer + place * kPageSize;
    };
    TRY(zeros ? reader_.read(entries_of(batch), buffer) : read_across(batch, buffer));
    std::vector<View::Extent> extents;
    for (const Wanted& wanted : batch) {
      const std::byte* bytes = place_of(wanted);
      const bool goes_on = !extents.empty() && extents.back().space == wanted.space && extents.back().first + extents.back().count == wanted.page &&
                           extents.back().bytes + extents.back().count * kPageSize == bytes;
      if (goes_on) ++extents.back().count;
      else extents.push_back({wanted.space, wanted.page, 1, bytes});
    }
    return take_(extents);
  }

  static std::vector<PageEntry> entries_of(std::span<const Wanted> batch) {
    std::vector<PageEntry> entries;
    entries.reserve(batch.size());
    for (const Wanted& wanted : batch) entries.push_back(wanted.entry);
    return entries;
  }

  Result<void> read_across(std::span<const Wanted> batch, std::byte* buffer) const {
    const auto entries = entries_of(batch);
    if (reader_.read_span(entries, buffer)) return {};
    // A bad block in a gap is nobody's business.
    for (const PageEntry& entry : entries) TRY(reader_.read(std::span(&entry, 1), buffer + (entry.location - entries[0].location) * kPageSize));
    return {};
  }

  void fail(Error error) {
    const std::lock_guard lock(mutex_);
    if (!failed_.exchange(true)) error_ = std::move(error);
  }

  std::vector<Wanted> pages_;
  std::vector<std::span<const Wanted>> batches_;
  const PageReader& reader_;
  const std::function<Result<void>(std::span<const View::Extent>)>& take_;
  std::atomic<size_t> next_batch_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::optional<Error> error_;
};

}  // namespace

Result<void> read_all(const Index& index, std::span<const SpaceId> spaces, const PageReader& reader,
                      const std::function<Result<void>(std::span<const View::Extent>)>& take, View::Pace pace) {
  return BulkRead(wanted_pages(index, spaces), reader, take).run(pace);
}

}  // namespace perdure::store
