#include <gtest/gtest.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/moment.h"
#include "store_scratch.h"
#include "supervisor/group_directory.h"

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
  for (const char* text : {"", "ms", "0", "-1ms", "10 parsecs", "1d", "nan", "inf", "1e300s", "1e-9us", "99999999999999999999s", "25000m"}) {
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
  EXPECT_EQ(find_epoch(**store, "g", "")->epoch, 4u);
  EXPECT_EQ(find_epoch(**store, "g", "2")->epoch, 2u);
  EXPECT_EQ(find_epoch(**store, "g", "before")->epoch, 3u);
  const auto missing = find_epoch(**store, "g", "9");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().what.find("1 to 4"), std::string::npos) << missing.error().what;
  EXPECT_FALSE(find_epoch(**store, "g", "after"));
}

TEST(Epoch, IsFoundByTheTimeThatTheLogShows) {
  store::testing::ScratchDirectory scratch;
  auto store = store::Store::create(scratch.path() + "/s", {});
  ASSERT_TRUE(store) << store.error().message();
  const int64_t begin_ns = realtime_ns() - 100 * kNanosecondsPerSecond;
  const auto taken_ns = [&](uint64_t epoch) { return begin_ns + static_cast<int64_t>(epoch) * 20 * kNanosecondsPerSecond; };
  for (uint64_t epoch = 1; epoch <= 3; ++epoch) {
    ASSERT_TRUE((*store)->append({.epoch = epoch, .realtime_ns = taken_ns(epoch)}, store::Changes{}));
  }
  for (uint64_t epoch = 1; epoch <= 3; ++epoch) {
    const auto found = find_epoch(**store, "g", clock_time(taken_ns(epoch)));
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->epoch, epoch);
  }
  EXPECT_EQ(find_epoch(**store, "g", clock_time(taken_ns(3) - 1'000'000))->epoch, 2u);
  EXPECT_EQ(find_epoch(**store, "g", "-1s")->epoch, 3u);
  EXPECT_EQ(find_epoch(**store, "g", "-50s")->epoch, 2u);
  const auto early = find_epoch(**store, "g", "-5m");
  ASSERT_FALSE(early);
  EXPECT_NE(early.error().what.find("its oldest, 1, was taken at " + clock_time(taken_ns(1))), std::string::npos) << early.error().what;
}

TEST(Moment, IsAClockTimeOrAnAge) {
  const int64_t now_ns = realtime_ns();
  const int64_t second_ns = now_ns - now_ns % kNanosecondsPerSecond;
  const std::string shown = clock_time(second_ns + 7'000'000);
  const size_t day_end = shown.find(' ');
  const size_t point = shown.find('.');
  EXPECT_EQ(parse_moment(shown, now_ns), second_ns + 7'999'999);
  EXPECT_EQ(parse_moment(shown.substr(0, point), now_ns), second_ns);
  EXPECT_EQ(parse_moment(shown.substr(day_end + 1, point - day_end - 1), now_ns), second_ns);
  EXPECT_EQ(parse_moment("-30s", now_ns), now_ns - 30 * kNanosecondsPerSecond);
  EXPECT_EQ(parse_moment("-1.5h", now_ns), now_ns - 5400 * kNanosecondsPerSecond);
  EXPECT_EQ(parse_moment("-250ms", now_ns), now_ns - 250'000'000);
  EXPECT_EQ(parse_moment("1970-01-02 14:03:05", now_ns).value() % 60'000'000'000, 5'000'000'000);
}

TEST(Moment, AnythingElseIsAnErrorThatSaysWhatToWrite) {
  for (const char* text : {"", "-", "-s", "-30", "-30 s", "--30s", "-nans", "-infs", "-1e3s", "-99999999h", "25:00:00", "14:03", "14:3:05", " 14:03:05", "14:03:05 ",
                           "14:03:05.", "14:03:05.-1", "14:03:05.1234567890", "2026-02-30 14:03:05", "2026-1-2 14:03:05", "26-11-21 14:03:05", "2026-01-02T14:03:05"}) {
    const auto parsed = parse_moment(text, realtime_ns());
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().what.find("-5m"), std::string::npos) << parsed.error().what;
  }
  const auto future = parse_moment("2999-01-01 00:00:00", realtime_ns());
  ASSERT_FALSE(future);
  EXPECT_NE(future.error().what.find("still to come"), std::string::npos) << future.error().what;
}

TEST(Moment, LooksLikeNoEpochAndNoLabel) {
  for (const char* text : {"-30s", "14:03:05", "2026-11-21 14:03:05"}) {
    EXPECT_TRUE(names_moment(text)) << text;
    EXPECT_FALSE(supervisor::check_label(text)) << text;
  }
  for (const char* text : {"before", "30s", "2026-11-21", "v1.2-3"}) {
    EXPECT_FALSE(names_moment(text)) << text;
    EXPECT_TRUE(supervisor::check_label(text)) << text;
  }
}

}  // namespace
}  // namespace perdure::cli
