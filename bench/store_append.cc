// What one epoch costs the store, side by side with the same bytes as one raw O_DIRECT write and fdatasync.
//   store_append DIRECTORY [pages in all] [dirty pages an epoch] [epochs]
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "store/store.h"

using namespace perdure;
using namespace perdure::store;

namespace {

constexpr uint64_t kReport = 250;  // epochs

struct Samples {
  std::vector<double> values;
  void add(double value) { values.push_back(value); }
  double at(double quantile) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[static_cast<size_t>(quantile * static_cast<double>(values.size() - 1))];
  }
};

void fail(const std::string& what) {
  std::fprintf(stderr, "store_append: %s\n", what.c_str());
  std::exit(1);
}

/// A file overwritten round and round.
class RawFile {
 public:
  RawFile(const std::string& path, size_t size) : path_(path), size_(size) {
    fd_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600));
    const auto chunk = allocate_aligned(size_t{1} << 20);
    std::memset(chunk.get(), 1, size_t{1} << 20);
    for (size_t at = 0; at < size; at += size_t{1} << 20)
      if (::pwrite(fd_.get(), chunk.get(), size_t{1} << 20, static_cast<off_t>(at)) < 0) fail("cannot write " + path);
    ::fsync(fd_.get());
  }
  ~RawFile() { ::unlink(path_.c_str()); }
  void write(const std::byte* data, size_t count) {
    if (offset_ + count > size_) offset_ = 0;
    if (::pwrite(fd_.get(), data, count, static_cast<off_t>(offset_)) != static_cast<ssize_t>(count)) fail("short write");
    if (::fdatasync(fd_.get()) != 0) fail("fdatasync");
    offset_ += count;
  }

 private:
  std::string path_;
  size_t size_;
  size_t offset_ = 0;
  Fd fd_;
};

void put_random_pages(Changes& changes, uint64_t pages, uint64_t dirty, std::mt19937_64& random) {
  std::vector<uint64_t> numbers(dirty);
  for (uint64_t& number : numbers) number = random() % pages;
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  std::byte* staged = changes.allocate_pages(numbers.size());
  for (const uint64_t number : numbers) {
    for (size_t at = 0; at < kPageSize; at += 64) {
      const uint64_t value = random();
      std::memcpy(staged + at, &value, sizeof value);
    }
    changes.put_page(1, number, staged);
    staged += kPageSize;
  }
}

void put_all_pages(Store& store, uint64_t pages) {
  Changes changes;
  std::byte* staged = changes.allocate_pages(pages);
  if (staged == nullptr) fail("memory is short");
  for (uint64_t page = 0; page < pages; ++page) {
    std::memset(staged + page * kPageSize, static_cast<int>(page % 251 + 1), kPageSize);
    changes.put_page(1, page, staged + page * kPageSize);
  }
  const int64_t start = monotonic_ns();
  if (auto done = store.append({.epoch = 1}, changes); !done) fail(done.error().message());
  const double seconds = static_cast<double>(monotonic_ns() - start) / 1e9;
  std::printf("first epoch: %lu pages in %.3f s, %.2f GB/s\n", pages, seconds, static_cast<double>(pages * kPageSize) / seconds / 1e9);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) fail("usage: store_append DIRECTORY [pages in all] [dirty pages an epoch] [epochs]");
  const std::string directory = std::string(argv[1]) + "/store_append.store";
  const uint64_t pages = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 262144;
  const uint64_t dirty = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1000;
  const uint64_t epochs = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 500;
  std::filesystem::remove_all(directory);
  auto store = Store::create(directory, {});
  if (!store) fail(store.error().message());
  put_all_pages(**store, pages);

  RawFile raw(std::string(argv[1]) + "/store_append.raw", size_t{256} << 20);
  std::mt19937_64 random(1);
  Samples store_us, raw_us, cpu_us, reclaim_us;
  uint64_t stored = 0;
  uint64_t changed = 0;
  for (EpochNumber epoch = 2; epoch <= epochs + 1; ++epoch) {
    Changes changes;
    put_random_pages(changes, pages, dirty, random);
    const auto write_raw = [&] {
      const int64_t start = monotonic_ns();
      raw.write(changes.page_operations().front().staged, changes.page_count() * kPageSize);
      raw_us.add(static_cast<double>(monotonic_ns() - start) / 1e3);
    };
    // Whoever comes second finds the disk awake and the pages in the cache: take turns.
    if (epoch % 2 == 0) write_raw();
    const int64_t start = monotonic_ns();
    const int64_t cpu_start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    const auto info = (*store)->append({.epoch = epoch}, changes);
    const int64_t cpu_end = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    const int64_t end = monotonic_ns();
    if (!info) fail(info.error().message());
    if (epoch % 2 != 0) write_raw();
    const int64_t reclaim_start = monotonic_ns();
    if (auto done = (*store)->reclaim(); !done) fail(done.error().message());
    reclaim_us.add(static_cast<double>(monotonic_ns() - reclaim_start) / 1e3);
    store_us.add(static_cast<double>(end - start) / 1e3);
    cpu_us.add(static_cast<double>(cpu_end - cpu_start) / 1e3);
    stored += info->stored_bytes;
    changed += info->page_count * kPageSize;
    if (epoch % kReport != 0 && epoch != epochs + 1) continue;
    std::printf("epochs to %lu of %lu random dirty pages, us (p10 / median / p90 / p99):\n", epoch, dirty);
    std::printf("  append  %8.0f %8.0f %8.0f %8.0f   (cpu %.0f)\n", store_us.at(0.1), store_us.at(0.5), store_us.at(0.9), store_us.at(0.99), cpu_us.at(0.5));
    std::printf("  raw     %8.0f %8.0f %8.0f %8.0f\n", raw_us.at(0.1), raw_us.at(0.5), raw_us.at(0.9), raw_us.at(0.99));
    std::printf("  reclaim %8.0f %8.0f %8.0f %8.0f\n", reclaim_us.at(0.1), reclaim_us.at(0.5), reclaim_us.at(0.9), reclaim_us.at(0.99));
    std::printf("  written / changed %.3f\n", static_cast<double>(stored) / static_cast<double>(changed));
    store_us = raw_us = cpu_us = reclaim_us = {};
    stored = changed = 0;
  }
  const Usage usage = (*store)->usage();
  std::printf("store %.0f MB in %lu segments, live %.0f MB\n", static_cast<double>(usage.stored_bytes) / 1e6, usage.segment_count,
              static_cast<double>(usage.live_bytes) / 1e6);

  store->reset();
  const size_t memory_before = ::mallinfo2().uordblks;
  const int64_t start = monotonic_ns();
  store = Store::open(directory, {});
  if (!store) fail(store.error().message());
  const int64_t opened = monotonic_ns();
  std::printf("memory %.1f bytes a page\n", static_cast<double>(::mallinfo2().uordblks - memory_before) / static_cast<double>(pages));
  auto oldest = (*store)->view((*store)->history().front().epoch);
  if (!oldest) fail(oldest.error().message());
  const int64_t viewed = monotonic_ns();
  if (auto done = (*store)->view((*store)->last_epoch()).value()->verify(); !done) fail(done.error().message());
  std::printf("open %.1f ms, view of the oldest epoch %.1f ms, verify of the newest %.1f ms\n",
              static_cast<double>(opened - start) / 1e6, static_cast<double>(viewed - opened) / 1e6,
              static_cast<double>(monotonic_ns() - viewed) / 1e6);
  store->reset();
  std::filesystem::remove_all(directory);
  return 0;
}
