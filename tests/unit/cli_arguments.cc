#include <gtest/gtest.h>

#include "cli/commands.h"
#include "store_scratch.h"

namespace perdure::cli {
namespace {

TEST(Duration, HasAUnitOrIsInMilliseconds) {
  EXPECT_EQ(parse_duration_ns("10ms"), 10'000'000);
  EXPECT_EQ(parse_duration_ns("10"), 10'000'000);
  EXPECT_EQ(parse_duration_ns("250us"), 250'000);
  EXPECT_EQ(parse_duration_ns("1.5s"), 1'500'000'000);
  EXPECT_EQ(parse_duration_ns("2m"), 120'000'000'000);
}

TEST(Duration, AnythingElseIsAnErrorThatSaysWhatToWrite) {
  for (const char* text : {"", "ms", "0", "-1ms", "10 parsecs", "1h", "nan", "inf", "1e300s", "1e-9us", "99999999999999999999s", "25000m"}) {
    const auto parsed = parse_duration_ns(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().what.find("10ms"), std::string::npos);
  }
}

TEST(Epoch, IsFoundByNumberAndByTheNewestLabel) {
  store::testing::ScratchDirectory scratch;
  auto store = store::Store::create(scratch.path() + "/s", {});
  ASSERT_TRUE(store) << store.error().message();
  EXPECT_FALSE(find_epoch(**store, "g", ""));
  for (const auto& [epoch, label] : std::map<uint64_t, std::string>{{1, ""}, {2, "before"}, {3, "before"}, {4, ""}}) {
    ASSERT_TRUE((*store)->append({.epoch = epoch, .label = label}, store::Changes{}));
  }
  EXPECT_EQ(find_epoch(**store, "g", ""), 4u);
  EXPECT_EQ(find_epoch(**store, "g", "2"), 2u);
  EXPECT_EQ(find_epoch(**store, "g", "before"), 3u);
  const auto missing = find_epoch(**store, "g", "9");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().what.find("1 to 4"), std::string::npos) << missing.error().what;
  EXPECT_FALSE(find_epoch(**store, "g", "after"));
}

}  // namespace
}  // namespace perdure::cli
