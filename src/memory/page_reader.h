// Reads what was written to while its caller reads something else: the pause keeps a processor idle that can do it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
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

  std::vector<DirtyPages::Run> lost;  ///< written, too, and counted as clean from now on, but not copied: see PageReader::read_running()

  void append(ReadPages later);
};

/// Makes the copied pages part of `changes`: all, or those whose number is wanted. Returns how many.
uint64_t put_pages(ReadPages pages, store::Changes& changes, const std::function<bool(uint64_t)>& is_wanted = {});

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

  /// Reads spaces whose processes run meanwhile, by the calling thread alone; nothing else may be under way. What was copied may be of several moments: whoever wrote to it
  /// since has it count as written. `may_copy` is asked between scanning and copying: if not, and where a page is gone, pages are lost.
  std::vector<Result<ReadPages>> read_running(std::vector<TrackedSpace*> spaces, const std::function<bool()>& may_copy);

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
