// Sets of page numbers as runs.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace perdure::memory {

struct PageRun {
  uint64_t first;
  uint64_t count;
  uint64_t end() const { return first + count; }
};

/// A set of page numbers, kept as disjoint, non-adjacent runs.
class PageSet {
 public:
  void insert(PageRun run);
  /// Removes the pages of `run`; returns those that were in the set.
  std::vector<PageRun> remove(PageRun run);
  void clear() { *this = {}; }
  bool contains(uint64_t page) const;
  uint64_t page_count() const { return page_count_; }
  std::vector<PageRun> runs() const;

 private:
  std::map<uint64_t, uint64_t> runs_;  // first -> end
  uint64_t page_count_ = 0;
};

}  // namespace perdure::memory
