// Changes::absorb, and the page tree under the index, against simple models.
#include <gtest/gtest.h>

#include "store/page_tree.h"
#include "store_model.h"

namespace perdure::store::testing {
namespace {

TEST(StoreChanges, AbsorbEqualsOneAfterTheOther) {
  const WorkloadShape shape{.pages = 12, .page_range = 24, .spaces = 5};
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    std::mt19937_64 random(seed);
    Model one_after_the_other;
    Changes first;
    random_changes(first, shape, random);
    one_after_the_other.apply(first);
    Model merged = one_after_the_other;
    Changes all;
    for (int i = 0; i < 4; ++i) {
      Changes changes;
      random_changes(changes, shape, random);
      one_after_the_other.apply(changes);
      all.absorb(std::move(changes));
      EXPECT_TRUE(changes.empty());
    }
    merged.apply(all);
    ASSERT_EQ(merged, one_after_the_other) << "seed " << seed;
  }
}

TEST(StoreChanges, AbsorbLetsGoOfPagesPutAgain) {
  Changes all;
  for (int i = 0; i < 100; ++i) {
    Changes changes;
    std::byte* staged = changes.allocate_pages(100);
    for (uint64_t page = 0; page < 100; ++page) {
      fill_page(staged + page * kPageSize, page + 1);
      changes.put_page(1, page, staged + page * kPageSize);
    }
    all.absorb(std::move(changes));
  }
  EXPECT_EQ(all.page_count(), 100u);
  EXPECT_LT(all.staged_bytes(), size_t{3} << 20);
  Model model;
  model.apply(all);
  for (uint64_t page = 0; page < 100; ++page) EXPECT_EQ(model.spaces[1][page], page + 1);
}

TEST(StoreChanges, ACloneUndoesAnEarlierEraseOfTheSpace) {
  Model model;
  model.spaces[1][5] = 50;
  model.spaces[2][6] = 60;
  Changes changes;
  changes.erase_space(2);
  changes.clone_space(1, 2);
  model.apply(changes);
  EXPECT_EQ(model.spaces[2], (std::map<uint64_t, uint64_t>{{5, 50}}));
}

void put_filled(Changes& changes, SpaceId space, uint64_t page, uint64_t content) {
  std::byte* staged = changes.allocate_pages(1);
  fill_page(staged, content);
  changes.put_page(space, page, staged);
}

TEST(StoreChanges, AForkHasWhatWasChangedBeforeIt) {
  Model model;
  model.spaces[1] = {{5, 50}, {6, 60}};
  Changes changes;
  put_filled(changes, 1, 7, 70);
  changes.erase_pages(1, 5, 1);
  changes.fork_space(1, 2);
  put_filled(changes, 1, 8, 80);
  changes.fork_space(2, 3);
  model.apply(changes);
  EXPECT_EQ(model.spaces[2], (std::map<uint64_t, uint64_t>{{6, 60}, {7, 70}}));
  EXPECT_EQ(model.spaces[3], model.spaces[2]) << "a child's child";
  EXPECT_EQ(model.spaces[1], (std::map<uint64_t, uint64_t>{{6, 60}, {7, 70}, {8, 80}}));
}

TEST(StoreChanges, ForksAmongOtherChangesAreAsIfDoneOneByOne) {
  constexpr uint64_t kSpaces = 5, kPages = 12;
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    std::mt19937_64 random(seed);
    Model model;
    for (uint64_t content = 1; content <= 30; ++content) model.spaces[1 + random() % kSpaces][random() % kPages] = content;
    auto expected = model.spaces;
    Changes changes;
    for (uint64_t step = 0; step < 25; ++step) {
      const SpaceId space = 1 + random() % kSpaces;
      const uint64_t page = random() % kPages;
      switch (random() % 8) {
        case 0:
          changes.erase_space(space);
          expected.erase(space);
          break;
        case 1:
          changes.erase_pages(space, page, 3);
          expected[space].erase(expected[space].lower_bound(page), expected[space].lower_bound(page + 3));
          break;
        case 2: {
          const SpaceId child = 1 + space % kSpaces;
          changes.erase_space(child);  // as whoever forks does
          changes.fork_space(space, child);
          expected[child] = expected[space];
          break;
        }
        default:
          put_filled(changes, space, page, 1000 + step);
          expected[space][page] = 1000 + step;
      }
    }
    model.apply(changes);
    std::erase_if(expected, [](const auto& entry) { return entry.second.empty(); });
    ASSERT_EQ(model.spaces, expected) << "seed " << seed;
  }
}

TEST(StorePageTree, EqualsAMap) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    const uint64_t range = uint64_t{1} << (3 + random() % 12);
    PageTree tree;
    std::map<uint64_t, PageEntry> map;
    std::vector<std::pair<PageTree, std::map<uint64_t, PageEntry>>> copies;
    for (int step = 0; step < 400; ++step) {
      const uint64_t page = random() % range + (random() % 4 == 0 ? kPageNumberLimit - range : 0);
      const uint64_t count = 1 + random() % range;
      switch (random() % 16) {
        case 0: copies.emplace_back(tree, map); break;
        case 1: {
          size_t removed = 0;
          tree.erase(page, count, [&](uint64_t number, const PageEntry& entry) {
            EXPECT_EQ(map.at(number), entry);
            ++removed;
          });
          const auto low = map.lower_bound(page);
          const auto high = map.lower_bound(page + count);
          EXPECT_EQ(removed, static_cast<size_t>(std::distance(low, high)));
          map.erase(low, high);
          break;
        }
        default: {
          const PageEntry entry{random(), random()};
          const auto replaced = tree.put(page, entry);
          EXPECT_EQ(replaced.has_value(), map.contains(page));
          map[page] = entry;
        }
      }
      ASSERT_EQ(tree.size(), map.size());
      ASSERT_EQ(tree.find(page).has_value(), map.contains(page));
    }
    copies.emplace_back(tree, map);
    for (const auto& [copy, expected] : copies) {
      std::map<uint64_t, PageEntry> seen;
      copy.for_each([&](uint64_t page, const PageEntry& entry) { return seen.emplace(page, entry).second; });
      ASSERT_EQ(seen, expected);
      const uint64_t first = random() % range;
      const auto found = expected.lower_bound(first);
      uint64_t met = kPageNumberLimit;
      copy.for_each(first, kPageNumberLimit, [&](uint64_t page, const PageEntry&) { met = page; return false; });
      ASSERT_EQ(met, found == expected.end() ? kPageNumberLimit : found->first);
    }
  }
}

}  // namespace
}  // namespace perdure::store::testing
