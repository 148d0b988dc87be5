// Crashes, torn and lost writes, damage and faults, against a model.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>

#include "store/log_store.h"
#include "store_model.h"
#include "store_simulated_storage.h"

namespace perdure::store::testing {
namespace {

using Kind = DiskOperation::Kind;
using Models = std::map<EpochNumber, Model>;

constexpr Options kSmall{.keep_epochs = 6, .segment_bytes = 64 << 10};

/// A store with random contents on a simulated disk, and what it should hold.
struct Workload {
  explicit Workload(uint64_t seed, Options store_options = kSmall, WorkloadShape store_shape = {})
      : random(seed), options(store_options), shape(store_shape) {
    store = create_store(make_simulated_storage(disk), options).value();
  }

  /// One epoch; what cannot be written is merged with the next.
  bool append() {
    Changes changes;
    random_changes(changes, shape, random);
    current.apply(changes);
    pending.absorb(std::move(changes));
    ++epoch;
    const auto done = store->append({.epoch = epoch, .label = "epoch " + std::to_string(epoch)}, pending);
    if (random() % 2 == 0) static_cast<void>(store->reclaim());
    if (!done) return false;
    models[epoch] = current;
    durable_after[disk->operations().size()] = epoch;
    pending = Changes();
    return true;
  }

  EpochNumber durable_at(size_t operations) const {
    const auto found = durable_after.upper_bound(operations);
    return found == durable_after.begin() ? 0 : std::prev(found)->second;
  }

  std::mt19937_64 random;
  Options options;
  WorkloadShape shape;
  std::shared_ptr<SimulatedDisk> disk = std::make_shared<SimulatedDisk>();
  std::unique_ptr<Store> store;
  Changes pending;
  Model current;
  EpochNumber epoch = 0;
  Models models;
  std::map<size_t, EpochNumber> durable_after;  ///< operations made when append returned
};

std::shared_ptr<SimulatedDisk> disk_of(const DiskImage& image) { return std::make_shared<SimulatedDisk>(image); }

/// Every epoch in the history shows what it should.
void expect_history(const Store& store, const Models& models, size_t at_least) {
  const auto history = store.history();
  EXPECT_GE(history.size(), at_least);
  for (const EpochInfo& info : history) {
    const auto view = store.view(info.epoch);
    ASSERT_TRUE(view) << view.error().message();
    ASSERT_TRUE(models.contains(info.epoch)) << info.epoch;
    EXPECT_EQ(difference(**view, models.at(info.epoch)), "") << "epoch " << info.epoch;
  }
}

TEST(StoreCrash, ReopensAfterAStop) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Workload work(seed);
    for (int i = 0; i < 60; ++i) {
      ASSERT_TRUE(work.append());
      if (i % 7 == 0) {
        work.store.reset();
        work.store = open_store(make_simulated_storage(work.disk), work.options).value();
        EXPECT_TRUE(work.store->notices().empty()) << work.store->notices()[0];
      }
      if (i % 5 == 0) expect_history(*work.store, work.models, std::min(i + 1, 6));
    }
    const auto report = work.store->verify({});
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->damage.empty()) << report->damage[0];
  }
}

/// After each single operation that the store ever made, power is cut.
void cut_power_anywhere(Workload& work) {
  for (size_t operations = 0; operations <= work.disk->operations().size(); ++operations) {
    const auto disk = disk_of(work.disk->after_power_cut(operations, work.random));
    auto store = open_store(make_simulated_storage(disk), work.options);
    if (!store && work.durable_at(operations) == 0 && store.error().error_number == ENOENT) continue;
    ASSERT_TRUE(store) << store.error().message();
    ASSERT_GE((*store)->last_epoch(), work.durable_at(operations)) << "cut " << operations;
    ASSERT_TRUE((*store)->notices().empty()) << "a crash is taken for damage: " << (*store)->notices()[0];
    expect_history(**store, work.models, std::min<size_t>((*store)->last_epoch(), work.options.keep_epochs));
  }
}

TEST(StoreCrash, PowerCutAnywhereLosesNothingDurable) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    Workload work(seed, {.keep_epochs = 1 + seed % 8, .segment_bytes = seed % 2 == 0 ? 64u << 10 : 16u << 10});
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(work.append());
    ASSERT_NO_FATAL_FAILURE(cut_power_anywhere(work));
  }
}

/// Of which the data is written before the head, and which fill several parts and segments.
constexpr WorkloadShape kLargeEpochs{.pages = 450, .page_range = 1200};
constexpr Options kLargeParts{.keep_epochs = 3, .segment_bytes = 4 << 20};

TEST(StoreCrash, PowerCutAnywhereOfLargeEpochs) {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    SCOPED_TRACE(seed);
    Workload work(seed, kLargeParts, kLargeEpochs);
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(work.append());
    const auto& operations = work.disk->operations();
    ASSERT_TRUE(std::ranges::any_of(operations, [](const auto& operation) { return operation.bytes.size() == 256 * kPageSize; })) << "no data was written by itself";
    ASSERT_NO_FATAL_FAILURE(cut_power_anywhere(work));
  }
}

TEST(StoreCrash, UnreadableBlocksAreErrorsNotCrashes) {
  Workload work(5, {.keep_epochs = 5, .segment_bytes = 32 << 10});
  for (int i = 0; i < 25; ++i) ASSERT_TRUE(work.append());
  work.store.reset();
  const DiskImage whole = work.disk->now();
  for (const auto& [name, bytes] : whole.files) {
    if (!name.ends_with(".segment")) continue;
    for (uint64_t bad = 0; bad < bytes.size(); bad += kPageSize) {
      const auto disk = disk_of(whole);
      disk->read_fault = [&, &bad_name = name](const std::string& read_name, uint64_t offset, size_t size) {
        return read_name == bad_name && offset <= bad && bad < offset + size ? EIO : 0;
      };
      auto store = open_store_read_only(make_simulated_storage(disk));
      ASSERT_TRUE(store) << store.error().message();
      for (const EpochInfo& info : (*store)->history()) {
        const auto view = (*store)->view(info.epoch);
        if (!view || !(*view)->verify()) continue;
        EXPECT_EQ(difference(**view, work.models.at(info.epoch)), "");
      }
    }
  }
}

/// Power is cut, the store goes on from there, power is cut again, ...
TEST(StoreCrash, PowerCutsInARow) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Workload work(seed, {.keep_epochs = 4, .segment_bytes = 32 << 10});
    for (int life = 0; life < 12; ++life) {
      const int epochs = 1 + static_cast<int>(work.random() % 12);
      for (int i = 0; i < epochs; ++i) ASSERT_TRUE(work.append());
      const size_t first = work.durable_after.begin()->first;
      const size_t operations = first + work.random() % (work.disk->operations().size() - first + 1);
      const EpochNumber durable = work.durable_at(operations);
      const auto disk = disk_of(work.disk->after_power_cut(operations, work.random));
      work.store.reset();
      work.disk = disk;
      work.store = open_store(make_simulated_storage(disk), work.options).value();
      const EpochNumber last = work.store->last_epoch();
      ASSERT_GE(last, durable);
      work.current = work.models.at(last);
      work.models.erase(work.models.upper_bound(last), work.models.end());
      work.epoch = last;
      work.durable_after = {{disk->operations().size(), last}};
      expect_history(*work.store, work.models, 1);
    }
  }
}

TEST(StoreCrash, FaultsLeaveTheStoreAsItWas) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const bool large = seed % 10 == 0;
    Workload work(seed, large ? kLargeParts : Options{.keep_epochs = 4, .segment_bytes = 32 << 10}, large ? kLargeEpochs : WorkloadShape{});
    std::mt19937_64 faults(seed);
    work.disk->fault = [&](Kind kind, const std::string&, size_t) {
      if (faults() % 60 != 0) return 0;
      return kind == Kind::write || kind == Kind::create ? (faults() % 2 == 0 ? ENOSPC : EIO) : EIO;
    };
    int failures = 0;
    for (int i = 0; i < 60; ++i) {
      const EpochNumber before = work.store->last_epoch();
      if (work.append()) continue;
      ++failures;
      ASSERT_EQ(work.store->last_epoch(), before);
      if (before != 0) {
        EXPECT_EQ(difference(*work.store->view(before).value(), work.models.at(before)), "");
      }
    }
    EXPECT_GT(failures, 0);
    expect_history(*work.store, work.models, 1);
    const EpochNumber durable = work.store->last_epoch();
    for (int cut = 0; cut < 10; ++cut) {
      const auto disk = disk_of(work.disk->after_power_cut(work.disk->operations().size(), work.random));
      auto store = open_store(make_simulated_storage(disk), work.options);
      ASSERT_TRUE(store) << store.error().message();
      // An epoch whose flush failed may have reached the disk all the same; nothing was built on it.
      ASSERT_GE((*store)->last_epoch(), durable);
      const auto view = (*store)->view(durable);
      ASSERT_TRUE(view) << view.error().message();
      EXPECT_EQ(difference(**view, work.models.at(durable)), "");
    }
  }
}

TEST(StoreCrash, StaysWithinTwiceWhatItNeeds) {
  for (const uint64_t keep : {1, 3, 20}) {
    Workload work(keep, {.keep_epochs = keep, .segment_bytes = 128 << 10}, {.pages = 20, .page_range = 400, .spaces = 2});
    uint64_t most = 0;
    uint64_t most_live = 0;
    for (int i = 0; i < 1500; ++i) {
      ASSERT_TRUE(work.append());
      const auto done = work.store->reclaim();
      ASSERT_TRUE(done) << done.error().message();
      const Usage usage = work.store->usage();
      most_live = std::max(most_live, usage.live_bytes);
      if (i >= 500) most = std::max(most, usage.stored_bytes);
      if (i % 100 == 0) expect_history(*work.store, work.models, std::min<size_t>(i + 1, keep));
      work.models.erase(work.models.begin(), work.models.lower_bound(work.epoch > 30 ? work.epoch - 30 : 0));
    }
    // Each kept epoch adds what it wrote; then there are the segments being filled, emptied and kept to be used again.
    const uint64_t history = keep * 30 * kPageSize;
    EXPECT_LT(most, 2 * most_live + 2 * history + (12 * 160 << 10)) << "keep " << keep << " live " << most_live;
    const auto report = work.store->verify({});
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->damage.empty()) << report->damage[0];
    EXPECT_EQ(report->epochs_checked, keep);
  }
}

/// The file that the newest epoch lies in, and where in it.
struct Tail {
  std::string name;
  size_t begin;
};

Tail tail_of(const Workload& work, size_t epochs) {
  // The operations since the append before the last `epochs` ones say which file was written, and from where.
  auto at = work.durable_after.rbegin();
  std::advance(at, epochs);
  Tail tail{"", SIZE_MAX};
  const auto image = work.disk->now();
  for (size_t i = at->first; i < work.disk->operations().size(); ++i) {
    const DiskOperation& operation = work.disk->operations()[i];
    const bool of_the_log = operation.kind == Kind::write && operation.bytes.size() >= kPageSize;
    if (of_the_log) tail.begin = std::min<size_t>(tail.begin, operation.offset);
  }
  for (const auto& [name, bytes] : image.files)
    if (name.ends_with(".segment")) tail.name = name;
  return tail;
}

// The address sanitizer, under which all takes ten times as long, looks at every seventh place: it is after other faults.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kStep = 7;
#else
constexpr size_t kStep = 1;
#endif

TEST(StoreCrash, CutAtEveryByteOfTheLastEpochs) {
  Workload work(7, {.keep_epochs = 100, .segment_bytes = 1 << 20}, {.pages = 4});
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(work.append());
  const Tail tail = tail_of(work, 3);
  const DiskImage whole = work.disk->now();
  const size_t size = whole.files.at(tail.name).size();
  ASSERT_LT(tail.begin, size);
  EpochNumber last_seen = 0;
  for (size_t left = (size - tail.begin) / kStep + 1; left-- > 0;) {
    const size_t cut = size - left * kStep;
    DiskImage image = whole;
    image.files[tail.name].resize(cut);
    auto store = open_store(make_simulated_storage(disk_of(image)), work.options);
    ASSERT_TRUE(store) << store.error().message();
    const EpochNumber last = (*store)->last_epoch();
    ASSERT_GE(last, last_seen);
    ASSERT_GE(last, 3u);
    if (last != last_seen || cut % 512 == 0) expect_history(**store, work.models, 3);
    last_seen = last;
  }
  EXPECT_EQ(last_seen, 6u);
}

/// Every byte of the store is damaged in turn: nothing wrong is ever shown, what is lost is reported, and epochs that do not need
/// the byte stay.
TEST(StoreCrash, AFlippedBitIsNeverBelieved) {
  Workload work(11, {.keep_epochs = 4, .segment_bytes = 24 << 10}, {.pages = 3, .page_range = 12, .spaces = 3, .largest_object = 40});
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(work.append());
  work.store.reset();
  const DiskImage whole = work.disk->now();
  size_t undetected = 0;
  for (const auto& [name, bytes] : whole.files) {
    if (name == "lock") continue;
    // Every byte of every head; in what follows it, each byte is as good as another.
    const bool all = ::getenv("PERDURE_TEST_EXHAUSTIVE") != nullptr;
    for (size_t at = 0; at < bytes.size(); at += all || at % kPageSize < 256 ? kStep : 41 * kStep) {
      DiskImage image = whole;
      image.files[name][at] ^= static_cast<char>(1u << (work.random() % 8));
      auto store = open_store_read_only(make_simulated_storage(disk_of(image)));
      ASSERT_TRUE(store) << name << " " << at << ": " << store.error().message();
      size_t whole_epochs = 0;
      for (const EpochInfo& info : (*store)->history()) {
        const auto view = (*store)->view(info.epoch);
        if (!view || !(*view)->verify()) continue;
        ++whole_epochs;
        ASSERT_EQ(difference(**view, work.models.at(info.epoch)), "") << name << " " << at << " epoch " << info.epoch;
        ASSERT_EQ(info.label, "epoch " + std::to_string(info.epoch));
      }
      if (whole_epochs == 4) continue;
      const auto report = (*store)->verify({});
      ASSERT_TRUE(report);
      if (report->damage.empty()) ++undetected;
    }
  }
  EXPECT_EQ(undetected, 0u);
}

/// The segment that is gone may be any, the newest included; those that no kept epoch needs are missed by no one.
TEST(StoreCrash, AMissingSegmentIsTold) {
  for (uint64_t seed = 1; seed <= 20; seed += kStep) {
    Workload work(seed, {.keep_epochs = 4 + seed % 20, .segment_bytes = 32 << 10});
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(work.append());
    const size_t kept = work.store->history().size();
    work.store.reset();
    const DiskImage whole = work.disk->now();
    for (const auto& [name, bytes] : whole.files) {
      if (!name.ends_with(".segment")) continue;
      for (const bool emptied : {false, true}) {
        DiskImage image = whole;
        if (emptied) image.files[name].clear();
        else image.files.erase(name);
        const auto store = open_store_read_only(make_simulated_storage(disk_of(image))).value();
        size_t whole_epochs = 0;
        for (const EpochInfo& info : store->history()) {
          const auto view = store->view(info.epoch);
          if (view && (*view)->verify()) ++whole_epochs;
        }
        if (whole_epochs < kept || store->last_epoch() < work.epoch) {
          EXPECT_FALSE(store->verify({})->damage.empty()) << name << ": " << whole_epochs << " of " << kept;
        } else {
          EXPECT_TRUE(store->notices().empty()) << name << " is not needed: " << store->notices()[0];
        }
        if (store->last_epoch() < work.epoch) {
          const auto& notices = store->notices();
          EXPECT_TRUE(std::ranges::any_of(notices, [&](const auto& line) { return line.find(std::to_string(work.epoch)) != std::string::npos; }));
        }
      }
    }
  }
}

TEST(StoreCrash, WhatIsToldOfDamageIsForgottenOnceTheStoreGoesOn) {
  Workload work(9);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(work.append());
  work.store.reset();
  DiskImage image = work.disk->now();
  for (auto& [name, bytes] : image.files)
    if (name.ends_with(".segment")) bytes.clear();
  work.disk = disk_of(image);
  work.store = open_store(make_simulated_storage(work.disk), work.options).value();
  ASSERT_FALSE(work.store->notices().empty());
  EXPECT_NE(work.store->notices()[0].find("epochs 1 to 10"), std::string::npos) << work.store->notices()[0];
  work.epoch = work.store->last_epoch();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(work.append());
  work.store.reset();
  for (int cut = 0; cut < 10; ++cut) {
    const auto disk = disk_of(work.disk->after_power_cut(work.disk->operations().size(), work.random));
    const auto store = open_store(make_simulated_storage(disk), work.options).value();
    EXPECT_TRUE(store->notices().empty()) << store->notices()[0];
  }
}

/// A writer carries on after damage: from the newest epoch that can be reached.
TEST(StoreCrash, AWriterGoesOnAfterDamage) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    Workload work(seed, {.keep_epochs = 5, .segment_bytes = 32 << 10});
    for (int i = 0; i < 15; ++i) ASSERT_TRUE(work.append());
    work.store.reset();
    DiskImage image = work.disk->now();
    for (int i = 0; i < 2; ++i) {
      auto file = std::next(image.files.begin(), static_cast<long>(work.random() % image.files.size()));
      if (!file->first.ends_with(".segment") || file->second.empty()) continue;
      file->second[work.random() % file->second.size()] ^= 0x10;
    }
    work.disk = disk_of(image);
    auto store = open_store(make_simulated_storage(work.disk), work.options);
    ASSERT_TRUE(store) << store.error().message();
    work.store = std::move(*store);
    work.epoch = work.store->last_epoch();
    if (work.epoch == 0) continue;
    const auto view = work.store->view(work.epoch).value();
    if (!view->verify()) continue;
    work.current = work.models.at(work.epoch);
    work.models.erase(work.models.upper_bound(work.epoch), work.models.end());
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(work.append());
    work.store.reset();
    auto again = open_store(make_simulated_storage(work.disk), work.options);
    ASSERT_TRUE(again) << again.error().message();
    ASSERT_EQ((*again)->last_epoch(), work.epoch);
    EXPECT_EQ(difference(*(*again)->view(work.epoch).value(), work.models.at(work.epoch)), "") << "seed " << seed;
  }
}

TEST(StoreCrash, AReaderBesideAWriterSeesAWholeEpochOrAnError) {
  Workload work(3, {.keep_epochs = 3, .segment_bytes = 16 << 10});
  std::vector<std::unique_ptr<Store>> readers;
  std::vector<std::pair<std::unique_ptr<View>, EpochNumber>> views;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(work.append());
    if (i % 10 == 0) {
      readers.push_back(open_store_read_only(make_simulated_storage(work.disk)).value());
      const EpochNumber last = readers.back()->last_epoch();
      ASSERT_EQ(last, work.epoch);
      views.emplace_back(readers.back()->view(last).value(), last);
      views.emplace_back(work.store->view(last).value(), last);
    }
    if (readers.size() > 3) readers.erase(readers.begin());
    if (views.size() > 8) views.erase(views.begin());
    for (const auto& [view, epoch] : views) ASSERT_EQ(difference(*view, work.models.at(epoch)), "");
  }
}

}  // namespace
}  // namespace perdure::store::testing
