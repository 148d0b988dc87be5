// Reading page contents, checked, from wherever they lie.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "store/index.h"
#include "store/segments.h"

namespace perdure::store {

/// Reads pages from a fixed set of segments. Safe from several threads.
class PageReader {
 public:
  using Segments = std::map<uint64_t, std::shared_ptr<const Segment>>;
  PageReader(Segments segments, StoreId store_id) : segments_(std::move(segments)), store_id_(store_id) {}

  /// Reads the pages into `to`, one behind the other, and checks them; neighbours in the log become one read.
  Result<void> read(std::span<const PageEntry> pages, std::byte* to) const;

  /// Reads all that lies between the first and the last of `pages`, sorted by location, in one segment, none of them a zero page, into `to`, and checks them.
  Result<void> read_span(std::span<const PageEntry> pages, std::byte* to) const;

  /// The same as read() for pages sorted by location that lie close together but not side by side: reads across the gaps. Some milliseconds
  /// for a thousand pages, where page by page would take a hundred.
  Result<void> read_scattered(std::span<const PageEntry> pages, std::byte* to) const;

  /// Reads and checks `pages`, sorted by location, in large reads; calls damaged(index, error) for each that fails.
  /// `progress` (pages done) may be empty.
  Result<void> check(std::span<const PageEntry> pages, const std::function<void(size_t, const Error&)>& damaged,
                     const std::function<void(uint64_t)>& progress) const;

 private:
  Result<void> read_run(std::span<const PageEntry> pages, std::byte* to) const;
  Result<const Segment*> segment_of(const PageEntry& page) const;
  Error damage(const Segment& segment, uint64_t offset) const;

  Segments segments_;
  StoreId store_id_;
};

/// The segments that an index's pages lie in, pinned.
PageReader::Segments segments_of(const Index& index, const SegmentSet& segments);

}  // namespace perdure::store
