#include "memory/page_runs.h"

#include <algorithm>

namespace perdure::memory {

void PageSet::insert(PageRun run) {
  if (run.count == 0) return;
  uint64_t first = run.first;
  uint64_t end = run.end();
  auto next = runs_.upper_bound(first);
  if (next != runs_.begin()) {
    auto before = std::prev(next);
    if (before->second >= end) return;
    if (before->second >= first) {
      first = before->first;
      page_count_ -= before->second - before->first;
      next = runs_.erase(before);
    }
  }
  while (next != runs_.end() && next->first <= end) {
    end = std::max(end, next->second);
    page_count_ -= next->second - next->first;
    next = runs_.erase(next);
  }
  runs_.emplace_hint(next, first, end);
  page_count_ += end - first;
}

std::vector<PageRun> PageSet::remove(PageRun run) {
  std::vector<PageRun> removed;
  if (run.count == 0) return removed;
  auto at = runs_.upper_bound(run.first);
  if (at != runs_.begin() && std::prev(at)->second > run.first) --at;
  while (at != runs_.end() && at->first < run.end()) {
    const auto [first, end] = *at;
    const uint64_t cut_first = std::max(first, run.first);
    const uint64_t cut_end = std::min(end, run.end());
    removed.push_back({cut_first, cut_end - cut_first});
    page_count_ -= cut_end - cut_first;
    at = runs_.erase(at);
    if (first < cut_first) runs_.emplace(first, cut_first);
    if (cut_end < end) runs_.emplace(cut_end, end);
  }
  return removed;
}

bool PageSet::contains(uint64_t page) const {
  const auto next = runs_.upper_bound(page);
  return next != runs_.begin() && std::prev(next)->second > page;
}

std::vector<PageRun> PageSet::runs() const {
  std::vector<PageRun> runs;
  for (const auto& [first, end] : runs_) runs.push_back({first, end - first});
  return runs;
}

}  // namespace perdure::memory
