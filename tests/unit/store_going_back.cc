// Going on from an older epoch.
#include <gtest/gtest.h>

#include "store_model.h"
#include "store_scratch.h"

namespace perdure::store::testing {
namespace {

TEST(StoreGoingBack, WhatIsAppendedThenIsRelativeToTheOlderEpoch) {
  const ScratchDirectory scratch;
  auto store = Store::create(scratch.path() + "/group", {.keep_epochs = 20, .segment_bytes = 256 << 10}).value();
  const WorkloadShape shape{.pages = 20, .page_range = 200, .spaces = 3};
  std::mt19937_64 random(4);
  Model model;
  std::map<EpochNumber, Model> models;
  const auto append = [&](const Changes& changes) {
    const EpochNumber epoch = store->last_epoch() + 1;
    ASSERT_TRUE(store->append({.epoch = epoch}, changes));
    ASSERT_TRUE(store->reclaim());
    models[epoch] = model;
  };
  for (int round = 0; round < 60; ++round) {
    for (uint64_t count = random() % 12; count-- > 0;) {
      Changes changes;
      random_changes(changes, shape, random);
      model.apply(changes);
      append(changes);
    }
    const auto history = store->history();
    if (history.empty()) continue;
    const EpochNumber back = history[random() % history.size()].epoch;
    const auto changes = store->changes_back_to(back);
    ASSERT_TRUE(changes) << changes.error().message();
    model = models.at(back);
    append(*changes);
    ASSERT_EQ(difference(*store->view(store->last_epoch()).value(), model), "") << "round " << round << ", back to " << back;
  }
  EXPECT_FALSE(store->changes_back_to(store->last_epoch() + 1));
}

TEST(StoreGoingBack, NothingIsLeftWhereSomethingElseBegins) {
  const ScratchDirectory scratch;
  auto store = Store::create(scratch.path() + "/group", {}).value();
  std::mt19937_64 random(5);
  for (EpochNumber epoch = 1; epoch <= 20; ++epoch) {
    Changes changes;
    random_changes(changes, {.pages = 20, .page_range = 200, .spaces = 3}, random);
    ASSERT_TRUE(store->append({.epoch = epoch}, changes));
  }
  Changes anew = store->changes_to_nothing().value();
  anew.put_object(100, "of something else");
  ASSERT_TRUE(store->append({.epoch = 21}, anew));
  Model model;
  model.objects[100] = "of something else";
  EXPECT_EQ(difference(*store->view(21).value(), model), "");
}

TEST(StoreGoingBack, CostsWhatHasChangedSince) {
  const ScratchDirectory scratch;
  auto store = Store::create(scratch.path() + "/group", {}).value();
  Changes many;
  std::byte* staged = many.allocate_pages(500);
  for (uint64_t page = 0; page < 500; ++page) {
    fill_page(staged + page * kPageSize, page + 1);
    many.put_page(1, page, staged + page * kPageSize);
  }
  ASSERT_TRUE(store->append({.epoch = 1}, many));
  Changes few;
  staged = few.allocate_pages(3);
  for (uint64_t page = 0; page < 3; ++page) {
    fill_page(staged + page * kPageSize, 1000 + page);
    few.put_page(1, 100 * page, staged + page * kPageSize);
  }
  ASSERT_TRUE(store->append({.epoch = 2}, few));
  const auto changes = store->changes_back_to(1);
  ASSERT_TRUE(changes) << changes.error().message();
  EXPECT_EQ(changes->page_count(), 3u);
  EXPECT_TRUE(changes->objects().empty());
}

}  // namespace
}  // namespace perdure::store::testing
