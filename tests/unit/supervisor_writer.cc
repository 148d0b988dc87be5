#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "base/bytes.h"
#include "base/clock.h"
#include "store/log_store.h"
#include "store_scratch.h"
#include "store_simulated_storage.h"
#include "supervisor/history_report.h"
#include "supervisor/writer.h"

namespace perdure::supervisor {
namespace {

constexpr int64_t kTimeoutNs = 60ll * 1'000'000'000;

capture::Checkpoint checkpoint_of(store::SpaceId space, uint64_t page, uint8_t fill, uint64_t pages = 1) {
  capture::Checkpoint checkpoint;
  std::byte* staged = checkpoint.changes.allocate_pages(pages);
  std::memset(staged, fill, pages * kPageSize);
  for (uint64_t i = 0; i < pages; ++i) checkpoint.changes.put_page(space, page + i, staged + i * kPageSize);
  checkpoint.figures.dirty_pages = pages;
  checkpoint.figures.pause_ns = 1000 * fill;
  return checkpoint;
}

std::unique_ptr<store::Store> new_store(const std::string& path) {
  auto store = store::Store::create(path, {.keep_epochs = 1000});
  if (!store) throw std::runtime_error(store.error().message());
  return std::move(*store);
}

TEST(WriterThreads, MakesDurableInOrderWhatIsHandedOver) {
  store::testing::ScratchDirectory scratch;
  {
    Writer writer(new_store(scratch.path() + "/s"), {});
    for (uint8_t fill = 1; fill <= 20; ++fill) EXPECT_EQ(writer.submit(checkpoint_of(5, fill % 4, fill), fill == 7 ? "seventh" : ""), fill);
    EXPECT_TRUE(writer.wait_durable(20, kTimeoutNs));
    EXPECT_TRUE(writer.drain(kTimeoutNs));
    const auto status = writer.status();
    EXPECT_EQ(status.durable, 20u);
    EXPECT_EQ(status.queued, 0u);
    EXPECT_TRUE(status.error.empty());
    EXPECT_FALSE(writer.wait_durable(21, 1'000'000)) << "nobody has handed that over";
  }
  auto store = store::Store::open(scratch.path() + "/s", {});
  ASSERT_TRUE(store) << store.error().message();
  const AlignedBytes page = allocate_aligned(kPageSize);
  ASSERT_TRUE((*(*store)->view(20))->read(5, 3, 1, page.get()));
  EXPECT_EQ(page[0], std::byte{19});
  ASSERT_TRUE((*(*store)->view(7))->read(5, 3, 1, page.get()));
  EXPECT_EQ(page[0], std::byte{7});
  const auto report = history_report(**store);
  ASSERT_EQ(report.size(), 20u);
  EXPECT_EQ(report[6]["label"], "seventh");
  EXPECT_EQ(report[6]["dirty_pages"], 1);
  for (size_t i = 0; i < 19; ++i) EXPECT_GT(report[i]["durable_lag_us"], report[i]["queued_us"]) << i;
  EXPECT_TRUE(report[19]["durable_lag_us"].is_null());
}

TEST(WriterThreads, HasNoRoomWhileTheDiskIsBehind) {
  store::testing::ScratchDirectory scratch;
  Writer writer(new_store(scratch.path() + "/s"), {.queue_max = 2, .staged_bytes_max = 1 << 30});
  std::atomic<bool> seen_full = false;
  writer.with_store([&](store::Store&) {
    for (uint8_t fill = 1; fill <= 3; ++fill) writer.submit(checkpoint_of(5, 0, fill), "");
    seen_full = !writer.has_room();
  });
  EXPECT_TRUE(seen_full);
  EXPECT_TRUE(writer.drain(kTimeoutNs));
  EXPECT_TRUE(writer.has_room());
}

TEST(WriterThreads, AnswersWhileItWrites) {
  store::testing::ScratchDirectory scratch;
  Writer writer(new_store(scratch.path() + "/s"), {});
  std::atomic<bool> stop = false;
  std::jthread reader([&] {
    while (!stop) {
      const auto status = writer.status();
      EXPECT_LE(status.durable, status.submitted);
      writer.with_store([&](store::Store& store) { EXPECT_GE(store.last_epoch(), status.durable); });
    }
  });
  for (int epoch = 1; epoch <= 50; ++epoch) {
    while (!writer.has_room()) ::usleep(100);
    writer.submit(checkpoint_of(5, 0, static_cast<uint8_t>(epoch), 8), "");
  }
  EXPECT_TRUE(writer.drain(kTimeoutNs));
  stop = true;
}

TEST(WriterThreads, WhatAFullDiskRefusedIsWrittenLater) {
  const auto disk = std::make_shared<store::testing::SimulatedDisk>();
  std::atomic<bool> full = false;
  disk->fault = [&](store::testing::DiskOperation::Kind, const std::string& name, size_t) { return full && name.ends_with(".segment") ? ENOSPC : 0; };
  constexpr uint8_t kBefore = 3;
  constexpr uint8_t kRefused = 12;
  {
    Writer writer(store::create_store(store::testing::make_simulated_storage(disk), {.keep_epochs = 1000}).value(), {.queue_max = 100});
    for (uint8_t fill = 1; fill <= kBefore; ++fill) writer.submit(checkpoint_of(5, fill, fill), "");
    ASSERT_TRUE(writer.wait_durable(kBefore, kTimeoutNs));
    full = true;
    for (uint8_t fill = kBefore + 1; fill <= kRefused; ++fill) writer.submit(checkpoint_of(5, fill, fill), "");
    const int64_t began_ns = monotonic_ns();
    EXPECT_FALSE(writer.drain(kTimeoutNs));
    EXPECT_LT(monotonic_ns() - began_ns, kTimeoutNs / 2) << "it waits for what cannot be";
    EXPECT_NE(writer.status().error.find("No space left"), std::string::npos) << writer.status().error;
    EXPECT_EQ(writer.status().durable, kBefore);
    full = false;
    EXPECT_TRUE(writer.wait_durable(kRefused, kTimeoutNs));
    EXPECT_TRUE(writer.status().error.empty());
  }
  disk->fault = nullptr;
  const auto store = store::open_store(store::testing::make_simulated_storage(disk), {}).value();
  ASSERT_EQ(store->last_epoch(), kRefused);
  const AlignedBytes page = allocate_aligned(kPageSize);
  for (uint8_t fill = 1; fill <= kRefused; ++fill) {
    ASSERT_TRUE((*store->view(kRefused))->read(5, fill, 1, page.get())) << int{fill};
    EXPECT_EQ(page[0], std::byte{fill});
  }
}

/// What comes after an epoch that was given up would be without its changes.
TEST(WriterThreads, WritesNothingBehindWhatItGaveUp) {
  const auto disk = std::make_shared<store::testing::SimulatedDisk>();
  std::atomic<bool> full = true;
  std::atomic<bool> refused = false;
  {
    auto store = store::create_store(store::testing::make_simulated_storage(disk), {}).value();
    disk->fault = [&](store::testing::DiskOperation::Kind kind, const std::string& name, size_t) {
      if (!full || kind != store::testing::DiskOperation::Kind::write || !name.ends_with(".segment")) return 0;
      // From now on there is room.
      full = false;
      refused = true;
      ::usleep(50'000);
      return ENOSPC;
    };
    Writer writer(std::move(store), {});
    writer.submit(checkpoint_of(5, 1, 1), "");
    while (!refused) ::usleep(100);
    writer.submit(checkpoint_of(5, 2, 2), "");
  }
  disk->fault = nullptr;
  const auto store = store::open_store(store::testing::make_simulated_storage(disk), {}).value();
  for (const auto& info : store->history()) EXPECT_EQ((*store->view(info.epoch))->page_count(5), 2u);
}

TEST(Figures, SurviveTheStore) {
  EpochFigures figures;
  figures.pause.pause_ns = 12345;
  figures.pause.dirty_pages = 678;
  figures.queued_ns = 9;
  const auto read = decode_figures(encode_figures(figures));
  EXPECT_EQ(read.pause.pause_ns, 12345);
  EXPECT_EQ(read.pause.dirty_pages, 678u);
  EXPECT_EQ(read.queued_ns, 9);
  EXPECT_EQ(decode_figures("").pause.pause_ns, 0) << "an epoch of an older perdure";
}

}  // namespace
}  // namespace perdure::supervisor
