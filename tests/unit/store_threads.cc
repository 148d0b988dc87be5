// Views beside a writer, each in a thread of its own.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "store_model.h"
#include "store_scratch.h"

namespace perdure::store::testing {
namespace {

TEST(StoreThreads, ViewsStayWhatTheyWereWhileTheWriterGoesOn) {
  const ScratchDirectory scratch;
  auto store = Store::create(scratch.path() + "/group", {.keep_epochs = 3, .segment_bytes = 256 << 10}).value();

  std::mutex mutex;
  std::vector<std::pair<std::shared_ptr<View>, Model>> offered;
  std::atomic<bool> done = false;
  std::atomic<int> compared = 0;
  const auto reader = [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    while (!done) {
      std::pair<std::shared_ptr<View>, Model> mine;
      {
        const std::lock_guard guard(mutex);
        if (!offered.empty()) mine = offered[random() % offered.size()];
      }
      if (!mine.first) continue;
      EXPECT_EQ(difference(*mine.first, mine.second), "");
      ++compared;
    }
  };
  std::vector<std::jthread> readers;
  for (uint64_t i = 1; i <= 2; ++i) readers.emplace_back(reader, i);

  std::mt19937_64 random(9);
  Model model;
  for (EpochNumber epoch = 1; epoch <= 300 || compared < 50; ++epoch) {
    Changes changes;
    random_changes(changes, {.pages = 20, .page_range = 200, .spaces = 3}, random);
    model.apply(changes);
    ASSERT_TRUE(store->append({.epoch = epoch}, changes));
    ASSERT_TRUE(store->reclaim());
    std::shared_ptr<View> view = store->view(epoch).value();
    const std::lock_guard guard(mutex);
    offered.emplace_back(std::move(view), model);
    if (offered.size() > 5) offered.erase(offered.begin());
  }
  done = true;
  readers.clear();
  offered.clear();
}

}  // namespace
}  // namespace perdure::store::testing
