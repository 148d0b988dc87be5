#include "store/difference.h"

#include <algorithm>

namespace perdure::store {
namespace {

constexpr size_t kLongestRun = 4096;  // pages

/// Pages of one space that follow each other.
struct Run {
  uint64_t first = 0;
  std::vector<PageEntry> entries;
};

Result<void> put_run(SpaceId space, const Run& run, const PageReader& reader, Changes& changes) {
  if (run.entries.empty()) return {};
  std::byte* staged = changes.allocate_pages(run.entries.size());
  if (staged == nullptr) return std::unexpected(Error{"read pages of an older epoch", ENOMEM});
  TRY(reader.read(run.entries, staged));
  for (size_t i = 0; i < run.entries.size(); ++i) changes.put_page(space, run.first + i, staged + i * kPageSize);
  return {};
}

Result<void> put_pages(SpaceId space, const PageTree& from, const PageTree& to, const PageReader& reader, Changes& changes) {
  Run run;
  Result<void> put;
  to.for_each([&](uint64_t page, const PageEntry& entry) {
    const auto present = from.find(page);
    if (present && present->location == entry.location) return true;
    if (page != run.first + run.entries.size() || run.entries.size() == kLongestRun) {
      put = put_run(space, run, reader, changes);
      run = {page, {}};
    }
    run.entries.push_back(entry);
    return put.has_value();
  });
  TRY(std::move(put));
  return put_run(space, run, reader, changes);
}

void erase_pages(SpaceId space, const PageTree& from, const PageTree& to, Changes& changes) {
  from.for_each([&](uint64_t page, const PageEntry&) {
    if (!to.find(page)) changes.erase_pages(space, page, 1);
    return true;
  });
}

void change_objects(const Index& from, const Index& to, Changes& changes) {
  for (const auto& [id, record] : from.objects()) {
    if (!to.objects().contains(id)) changes.erase_object(id);
  }
  for (const auto& [id, record] : to.objects()) {
    const auto present = from.objects().find(id);
    if (present == from.objects().end() || *present->second != *record) changes.put_object(id, *record);
  }
}

}  // namespace

Result<Changes> difference(const Index& from, const Index& to, const PageReader& reader) {
  Changes changes;
  change_objects(from, to, changes);
  for (const auto& [id, tree] : from.spaces()) {
    if (const PageTree* kept = to.space(id)) erase_pages(id, tree, *kept, changes);
    else changes.erase_space(id);
  }
  const PageTree nothing;
  for (const auto& [id, tree] : to.spaces()) {
    const PageTree* present = from.space(id);
    TRY(put_pages(id, present == nullptr ? nothing : *present, tree, reader, changes));
  }
  return changes;
}

}  // namespace perdure::store
