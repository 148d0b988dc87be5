// Reads what was written to while its caller reads something else: the pause keeps a processor idle that can do it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "base/result.h"
#include "memory/page_pool.h"
#include "memory/tracked_space.h"

namespace perdure::memory {

/// What one scan found in an address space, and what was there.
struct ReadPages {
  DirtyPages dirty;
  std::vector<std::span<const std::byte>> contents;  ///< of dirty.written, one page after the other
  std::vector<PagePool::Slab> memory;                ///< that they lie in

  void append(ReadPages later);
};

/// Makes the copied pages part of `changes`.
void put_pages(ReadPages pages, store::Changes& changes);

/// Scans address spaces and copies what was written, in a thread of its own. One reading at a time.
class PageReader {
 public:
  static std::unique_ptr<PageReader> create();
  PageReader(const PageReader&) = delete;
  ~PageReader();

  /// Gets memory ready into which about `pages` written pages can be copied: see PagePool.
  void reserve(uint64_t pages) { pool_->reserve(pages); }
  /// Begins to read these spaces (borrowed), whose processes must stand still until finish() returns. finish() must follow.
  void begin(std::vector<TrackedSpace*> spaces);

  struct Outcome {
    std::vector<Result<ReadPages>> spaces;  ///< in the order of begin(); where one failed, all of its pages must count as written
    int64_t scanned_ns = 0;                 ///< CLOCK_MONOTONIC of the end of the last scan
  };
  /// Does what the thread has not come to, which is all of it if it did not get a processor.
  Outcome finish();

 private:
  class Reading;
  PageReader() = default;
  void serve();
  bool keep_off(int processor);

  const std::shared_ptr<PagePool> pool_ = PagePool::create();
  std::shared_ptr<Reading> reading_;
  std::mutex mutex_;
  std::condition_variable offered_or_over_;
  std::shared_ptr<Reading> offered_;  ///< to the thread
  bool over_ = false;
  int avoided_ = -1;  ///< the processor that the thread does not run on: the caller's
  std::thread thread_;
};

}  // namespace perdure::memory
