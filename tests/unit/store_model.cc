#include "store_model.h"

#include <fmt/format.h>

#include <cstring>

#include "store/format.h"

namespace perdure::store::testing {

void fill_page(std::byte* page, uint64_t seed) {
  std::memset(page, 0, kPageSize);
  if (seed == 0) return;
  std::memcpy(page, &seed, sizeof seed);
  std::mt19937_64 random(seed);
  for (size_t at = 8; at < kPageSize; at += 256) {
    const uint64_t value = random();
    std::memcpy(page + at, &value, sizeof value);
  }
}

uint64_t find_seed(const std::byte* page) {
  uint64_t seed = 0;
  std::memcpy(&seed, page, sizeof seed);
  return seed;
}

void Model::apply(const Changes& changes) {
  using Kind = Changes::PageOperation::Kind;
  for (const auto& [id, change] : changes.objects()) {
    if (change.erased) objects.erase(id);
    else objects[id] = change.record;
  }
  const auto before = spaces;
  for (const auto& operation : changes.page_operations())
    if (operation.kind == Kind::clone_from) {
      const auto from = before.find(operation.first);
      spaces[operation.space] = from == before.end() ? std::map<uint64_t, uint64_t>() : from->second;
    }
  for (const auto& operation : changes.page_operations()) {
    auto& pages = spaces[operation.space];
    if (operation.kind == Kind::erase_space) pages.clear();
    if (operation.kind == Kind::erase)
      pages.erase(pages.lower_bound(operation.first), pages.lower_bound(operation.first + operation.count));
    if (operation.kind == Kind::put)
      for (uint64_t i = 0; i < operation.count; ++i) pages[operation.first + i] = find_seed(operation.staged + i * kPageSize);
  }
  std::erase_if(spaces, [](const auto& entry) { return entry.second.empty(); });
}

namespace {

void put_run(Changes& changes, const WorkloadShape& shape, std::mt19937_64& random) {
  const uint64_t space = 1 + random() % shape.spaces;
  const uint64_t count = 1 + random() % 6;
  const uint64_t first = random() % shape.page_range + (random() % 8 == 0 ? uint64_t{1} << 35 : 0);
  std::byte* staged = changes.allocate_pages(count);
  for (uint64_t i = 0; i < count; ++i) {
    fill_page(staged + i * kPageSize, random() % 5 == 0 ? 0 : random());
    changes.put_page(space, first + i, staged + i * kPageSize);
  }
}

void change_object(Changes& changes, const WorkloadShape& shape, std::mt19937_64& random) {
  const ObjectId id = 100 + random() % 10;
  if (random() % 3 == 0) changes.erase_object(id);
  else changes.put_object(id, std::string(random() % (shape.largest_object + 1), static_cast<char>('a' + random() % 26)));
}

}  // namespace

void random_changes(Changes& changes, const WorkloadShape& shape, std::mt19937_64& random) {
  for (uint64_t done = 0; done < shape.pages; done += 3) {
    put_run(changes, shape, random);
    if (random() % 4 == 0)
      changes.erase_pages(1 + random() % shape.spaces, random() % shape.page_range, 1 + random() % (shape.page_range / 2));
    if (random() % 12 == 0) changes.erase_space(1 + random() % shape.spaces);
    if (random() % 8 == 0) changes.clone_space(1 + random() % shape.spaces, 1 + random() % shape.spaces);
  }
  while (random() % 2 == 0) change_object(changes, shape, random);
}

namespace {

std::string page_difference(const View& view, SpaceId space, const std::map<uint64_t, uint64_t>& pages) {
  uint64_t seen = 0;
  for (const auto& run : view.runs(space, 0, kPageNumberLimit)) {
    const auto memory = allocate_aligned(run.count * kPageSize);
    if (auto done = view.read(space, run.first, run.count, memory.get()); !done) return done.error().message();
    const auto expected = allocate_aligned(kPageSize);
    for (uint64_t i = 0; i < run.count; ++i, ++seen) {
      const auto page = pages.find(run.first + i);
      if (page == pages.end()) return fmt::format("space {} has page {}, which is no page of it", space, run.first + i);
      fill_page(expected.get(), page->second);
      if (std::memcmp(expected.get(), memory.get() + i * kPageSize, kPageSize) != 0)
        return fmt::format("space {} page {} has the wrong contents", space, run.first + i);
      if (view.page_hash(space, run.first + i) != hash_page(expected.get())) return "wrong hash";
    }
  }
  if (seen != pages.size() || view.page_count(space) != seen) return fmt::format("space {} lacks pages", space);
  return {};
}

}  // namespace

std::string difference(const View& view, const Model& model) {
  if (view.objects() != model.objects) return "the objects differ";
  if (view.spaces().size() != model.spaces.size()) return "the spaces differ";
  for (const auto& [space, pages] : model.spaces)
    if (auto found = page_difference(view, space, pages); !found.empty()) return found;
  return {};
}

}  // namespace perdure::store::testing
