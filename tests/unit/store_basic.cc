// The store's contract on a real directory.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include "store/format.h"
#include "store/store.h"

namespace perdure::store {
namespace {

class StoreBasic : public testing::Test {
 protected:
  StoreBasic() {
    char path[] = "/tmp/perdure-store-XXXXXX";
    base_ = ::mkdtemp(path);
    directory_ = base_ + "/group";
  }
  ~StoreBasic() override { std::filesystem::remove_all(base_); }

  static void put(Changes& changes, SpaceId space, uint64_t page, uint8_t fill) {
    std::byte* staged = changes.allocate_pages(1);
    std::memset(staged, fill, kPageSize);
    changes.put_page(space, page, staged);
  }

  static int read(const View& view, SpaceId space, uint64_t page) {
    const auto memory = allocate_aligned(kPageSize);
    const auto done = view.read(space, page, 1, memory.get());
    if (!done) return -1;
    for (size_t i = 1; i < kPageSize; ++i)
      if (memory[i] != memory[0]) return -2;
    return static_cast<int>(memory[0]);
  }

  std::string base_;
  std::string directory_;
};

TEST_F(StoreBasic, KeepsWhatWasAppended) {
  {
    auto store = Store::create(directory_, {});
    ASSERT_TRUE(store) << store.error().message();
    Changes changes;
    put(changes, 1, 10, 0xaa);
    put(changes, 1, 11, 0);
    put(changes, 2, uint64_t{1} << 36, 0xbb);
    changes.put_object(7, "seven");
    const auto info = (*store)->append({.epoch = 1, .realtime_ns = 42, .label = "first", .attributes = "a"}, changes);
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->page_count, 3u);
    EXPECT_EQ(info->stored_bytes, 4 * kPageSize);
    Changes second;
    put(second, 1, 10, 0xcc);
    second.erase_pages(2, 0, uint64_t{1} << 40);
    second.clone_space(1, 3);
    second.erase_object(7);
    second.put_object(8, std::string(3'000'000, 'x'));
    ASSERT_TRUE((*store)->append({.epoch = 5}, second));
  }
  auto store = Store::open(directory_, {});
  ASSERT_TRUE(store) << store.error().message();
  EXPECT_EQ((*store)->last_epoch(), 5u);
  EXPECT_TRUE((*store)->notices().empty());
  const auto history = (*store)->history();
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0].label, "first");
  EXPECT_EQ(history[0].attributes, "a");
  EXPECT_EQ(history[0].realtime_ns, 42);
  auto first = (*store)->view(1);
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_EQ(read(**first, 1, 10), 0xaa);
  EXPECT_EQ(read(**first, 1, 11), 0);
  EXPECT_EQ(read(**first, 2, uint64_t{1} << 36), 0xbb);
  EXPECT_EQ((*first)->objects().at(7), "seven");
  EXPECT_TRUE((*first)->verify());
  auto second = (*store)->view(5);
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ(read(**second, 1, 10), 0xcc);
  EXPECT_EQ(read(**second, 3, 10), 0xaa);
  EXPECT_EQ(read(**second, 3, 11), 0);
  EXPECT_EQ(read(**second, 2, uint64_t{1} << 36), -1);
  EXPECT_EQ((*second)->objects().size(), 1u);
  EXPECT_EQ((*second)->objects().at(8).size(), 3'000'000u);
  EXPECT_EQ((*second)->spaces(), (std::vector<SpaceId>{1, 3}));
  const auto runs = (*second)->runs(1, 0, 100);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].first, 10u);
  EXPECT_EQ(runs[0].count, 2u);
  EXPECT_EQ((*store)->page_hash(1, 11), zero_page_hash());
  const auto report = (*store)->verify({});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->damage.empty());
  EXPECT_EQ(report->epochs_checked, 2u);
}

TEST_F(StoreBasic, ReadsAllPagesOfSpacesAtOnce) {
  auto store = Store::create(directory_, {});
  ASSERT_TRUE(store) << store.error().message();
  const auto value = [](uint64_t page) { return static_cast<uint8_t>(page % 5 == 0 ? 0 : 1 + page % 250); };
  Changes first;
  for (uint64_t page = 0; page < 3000; ++page) put(first, 1, page, page % 3 == 0 ? 0xff : value(page));
  put(first, 2, 7, 0xee);
  ASSERT_TRUE((*store)->append({.epoch = 1}, first));
  Changes second;  // leaves gaps of all sizes behind it
  for (uint64_t page = 0; page < 3000; page += 3) put(second, 1, page, value(page));
  second.erase_pages(1, 1000, 100);
  ASSERT_TRUE((*store)->append({.epoch = 2}, second));
  Changes third;
  third.clone_space(1, 3);
  ASSERT_TRUE((*store)->append({.epoch = 3}, third));
  const auto view = (*store)->view(3).value();
  std::mutex mutex;
  std::map<std::pair<SpaceId, uint64_t>, uint8_t> found;
  const std::vector<SpaceId> spaces{1, 3};
  const auto read = view->read_all(spaces, [&](std::span<const View::Extent> extents) -> Result<void> {
    const std::lock_guard lock(mutex);
    for (const auto& extent : extents)
      for (uint64_t i = 0; i < extent.count; ++i)
        EXPECT_TRUE(found.emplace(std::pair(extent.space, extent.first + i), static_cast<uint8_t>(extent.bytes[i * kPageSize + 17])).second);
    return {};
  });
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(found.size(), 2u * 2900);
  for (const auto& [page, byte] : found) ASSERT_EQ(byte, value(page.second)) << page.first << " " << page.second;
  const auto refused = view->read_all(spaces, [](std::span<const View::Extent>) { return failure("enough"); });
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("enough"), std::string::npos);
}

/// What others have brought into the page cache is read from there, and is never what was written before.
TEST_F(StoreBasic, ReadsThroughThePageCacheWhatWasWrittenPastIt) {
  const Options options{.keep_epochs = 1, .segment_bytes = 1 << 20};
  auto store = Store::create(directory_, options);
  ASSERT_TRUE(store) << store.error().message();
  for (uint64_t epoch = 1; epoch <= 60; ++epoch) {
    Changes changes;
    for (uint64_t page = 0; page < 100; ++page) put(changes, 1, page, static_cast<uint8_t>(epoch + page));
    ASSERT_TRUE((*store)->append({.epoch = epoch}, changes));
    ASSERT_TRUE((*store)->reclaim());
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      std::ifstream file(entry.path());
      std::ostringstream contents;
      contents << file.rdbuf();
    }
    const auto view = (*store)->view(epoch).value();
    ASSERT_TRUE(view->verify()) << epoch;
    for (uint64_t page = 0; page < 100; ++page) ASSERT_EQ(read(*view, 1, page), static_cast<int>(static_cast<uint8_t>(epoch + page)));
  }
}

TEST_F(StoreBasic, AnEpochMayBeLargerThanASegment) {
  {
    auto store = Store::create(directory_, {.segment_bytes = 1 << 20});
    ASSERT_TRUE(store);
    for (EpochNumber epoch = 1; epoch <= 3; ++epoch) {
      Changes changes;
      std::byte* staged = changes.allocate_pages(1000);
      for (uint64_t page = 0; page < 1000; ++page) {
        std::memset(staged + page * kPageSize, static_cast<int>(epoch + page % 200), kPageSize);
        changes.put_page(9, page, staged + page * kPageSize);
      }
      const auto info = (*store)->append({.epoch = epoch}, changes);
      ASSERT_TRUE(info) << info.error().message();
    }
    EXPECT_GT((*store)->usage().segment_count, 5u);
  }
  auto store = Store::open_read_only(directory_);
  ASSERT_TRUE(store) << store.error().message();
  for (EpochNumber epoch = 1; epoch <= 3; ++epoch) {
    auto view = (*store)->view(epoch);
    ASSERT_TRUE(view) << view.error().message();
    const auto memory = allocate_aligned(1000 * kPageSize);
    ASSERT_TRUE((*view)->read(9, 0, 1000, memory.get()));
    for (uint64_t page = 0; page < 1000; ++page)
      ASSERT_EQ(static_cast<uint8_t>(memory[page * kPageSize]), static_cast<uint8_t>(epoch + page % 200));
  }
}

/// Writes that the kernel is given to do meanwhile fail like any other.
TEST_F(StoreBasic, ALargeEpochThatFindsNoRoomIsNone) {
  constexpr uint64_t kPages = 1000;
  auto store = Store::create(directory_, {});
  ASSERT_TRUE(store) << store.error().message();
  Changes changes;
  std::byte* staged = changes.allocate_pages(kPages);
  for (uint64_t page = 0; page < kPages; ++page) {
    std::memset(staged + page * kPageSize, static_cast<int>(page % 250 + 1), kPageSize);
    changes.put_page(1, page, staged + page * kPageSize);
  }
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{kPages * kPageSize / 2, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto refused = (*store)->append({.epoch = 1}, changes);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().error_number, EFBIG) << refused.error().message();
  EXPECT_EQ((*store)->last_epoch(), 0u);
  ASSERT_TRUE((*store)->append({.epoch = 2}, changes));
  const auto view = (*store)->view(2).value();
  EXPECT_TRUE(view->verify());
  for (const uint64_t page : {uint64_t{0}, kPages / 2, kPages - 1}) EXPECT_EQ(read(*view, 1, page), static_cast<int>(page % 250 + 1));
}

TEST_F(StoreBasic, KeepsTheNewestEpochsOnly) {
  auto store = Store::create(directory_, {.keep_epochs = 3});
  ASSERT_TRUE(store);
  for (EpochNumber epoch = 1; epoch <= 10; ++epoch) {
    Changes changes;
    put(changes, 1, 1, static_cast<uint8_t>(epoch));
    ASSERT_TRUE((*store)->append({.epoch = epoch}, changes));
  }
  const auto history = (*store)->history();
  ASSERT_EQ(history.size(), 3u);
  EXPECT_EQ(history[0].epoch, 8u);
  EXPECT_FALSE((*store)->view(7));
  auto view = (*store)->view(8);
  ASSERT_TRUE(view);
  EXPECT_EQ(read(**view, 1, 1), 8);
  EXPECT_FALSE((*store)->append({.epoch = 10}, Changes()));
}

TEST_F(StoreBasic, HasOneWriter) {
  auto store = Store::create(directory_, {});
  ASSERT_TRUE(store);
  const auto other = Store::open(directory_, {});
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message().find("in use by pid " + std::to_string(::getpid())), std::string::npos);
  EXPECT_FALSE(Store::create(directory_, {}));
  EXPECT_TRUE(Store::open_read_only(directory_));
}

TEST_F(StoreBasic, RefusesWhatOthersCanWrite) {
  ASSERT_TRUE(Store::create(directory_, {}));
  struct stat status{};
  ASSERT_EQ(::stat(directory_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
  }
  ::chmod((directory_ + "/store").c_str(), 0620);
  EXPECT_FALSE(Store::open(directory_, {}));
  ::chmod((directory_ + "/store").c_str(), 0600);
  EXPECT_TRUE(Store::open(directory_, {}));
  ::chmod(directory_.c_str(), 0702);
  EXPECT_FALSE(Store::open(directory_, {}));
}

TEST_F(StoreBasic, PropertiesLast) {
  {
    auto store = Store::create(directory_, {});
    ASSERT_TRUE((*store)->set_property("command line", "a b c"));
    ASSERT_TRUE((*store)->set_property("command line", "d"));
  }
  auto store = Store::open_read_only(directory_);
  ASSERT_TRUE(store);
  EXPECT_EQ((*store)->property("command line").value(), "d");
  EXPECT_EQ((*store)->property("other").value(), std::nullopt);
  EXPECT_FALSE(Store::exists(base_));
  EXPECT_TRUE(Store::exists(directory_));
}

TEST_F(StoreBasic, VerifyReadsTheProperties) {
  {
    auto store = Store::create(directory_, {});
    ASSERT_TRUE((*store)->set_property("command line", "a b c"));
    EXPECT_TRUE((*store)->verify({})->damage.empty());
  }
  std::filesystem::resize_file(directory_ + "/property.command%20line", 17);
  auto store = Store::open_read_only(directory_);
  ASSERT_TRUE(store);
  const auto report = (*store)->verify({});
  ASSERT_EQ(report->damage.size(), 1u);
  EXPECT_NE(report->damage[0].find("property.command%20line: damaged"), std::string::npos) << report->damage[0];
}

}  // namespace
}  // namespace perdure::store
