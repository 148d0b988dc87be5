#include "memory/page_reader.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <iterator>
#include <optional>
#include <span>
#include <utility>

#include "base/clock.h"
#include "linux/process.h"
#include "linux/ptrace.h"
#include "linux/signal_mask.h"

namespace perdure::memory {

namespace {

/// So many pages are copied at a time: few enough that two threads end together.
constexpr uint64_t kPagesAtOnce = 32;

/// process_vm_readv ends at a page without read permission; /proc/PID/mem does not.
Result<void> copy(pid_t pid, std::span<const RemotePiece> pieces, std::byte* to) {
  const size_t done = read_pieces(pid, pieces, to);
  size_t position = 0;
  Fd memory;
  for (const RemotePiece& piece : pieces) {
    if (position + piece.size > done) {
      if (!memory) memory = TRY(open_process_memory(pid));
      TRY(read_memory(memory.get(), piece.address, std::span(to + position, piece.size)));
    }
    position += piece.size;
  }
  return {};
}

/// Cuts slabs of a pool into pieces, for any thread.
class Cutter {
 public:
  explicit Cutter(std::shared_ptr<PagePool> pool) : pool_(std::move(pool)) {}

  struct Piece {
    PagePool::Slab slab;  ///< null when memory is short
    std::byte* memory;
  };
  Piece cut(uint64_t pages) {
    const std::lock_guard lock(mutex_);
    if (room_ < pages) {
      slab_ = PagePool::take(pool_);
      room_ = slab_ == nullptr ? 0 : PagePool::kSlabPages;
      if (room_ == 0) return {};
    }
    std::byte* memory = slab_.get() + (PagePool::kSlabPages - room_) * kPageSize;
    room_ -= pages;
    return {slab_, memory};
  }

 private:
  const std::shared_ptr<PagePool> pool_;
  std::mutex mutex_;
  PagePool::Slab slab_;
  uint64_t room_ = 0;  // pages
};

/// A stretch of a space, which any thread may take on, and in whose copying any may take part.
class Work {
 public:
  Work(const TrackedSpace& space, TrackedSpace::Stretch stretch, Cutter& cutter) : space_(space), stretch_(stretch), cutter_(cutter) {}

  /// Whether it falls to the caller to scan().
  bool take_on() { return !taken_.exchange(true); }
  void scan() {
    if (auto scanned = prepare(); !scanned) fail(std::move(scanned.error()));
    scanned_ns_ = monotonic_ns();
    is_scanned_.store(true, std::memory_order_release);
  }
  void copy_chunks() {
    for (size_t number; (number = next_.fetch_add(1)) < chunks_.size(); copied_.fetch_add(1, std::memory_order_release)) {
      const Chunk& chunk = chunks_[number];
      if (auto done = copy(space_.host_pid(), chunk.pieces, chunk.to); !done) fail(std::move(done.error()));
    }
  }
  /// Of a process that runs: what cannot be copied is lost.
  void copy_what_is_left(bool may_copy) {
    DirtyPages& dirty = pages_.dirty;
    auto written = std::exchange(dirty.written, {});
    pages_.contents.clear();
    for (const Chunk& chunk : chunks_) {
      const bool copied = may_copy && copy(space_.host_pid(), chunk.pieces, chunk.to);
      size_t size = 0;
      for (size_t number = 0; number < chunk.pieces.size(); ++number) {
        const RemotePiece& piece = chunk.pieces[number];
        const DirtyPages::Run& run = written[chunk.first_run + number];
        (copied ? dirty.written : pages_.lost).push_back({piece.address, piece.size / kPageSize, run.space, run.first_page + (piece.address - run.address) / kPageSize});
        size += piece.size;
      }
      if (copied) pages_.contents.emplace_back(chunk.to, size);
    }
  }
  bool is_scanned() const { return is_scanned_.load(std::memory_order_acquire); }
  bool is_copied() const { return copied_.load(std::memory_order_acquire) == chunks_.size(); }
  int64_t scanned_ns() const { return scanned_ns_; }
  Result<ReadPages> take() {
    if (error_) return std::unexpected(std::move(*error_));
    return std::move(pages_);
  }

 private:
  struct Chunk {
    std::vector<RemotePiece> pieces;  ///< each of another run
    size_t first_run;
    std::byte* to;
  };
  Result<void> prepare() {
    pages_.dirty = TRY(space_.scan(stretch_));
    uint64_t left = 0;  // pages that have no chunk yet
    uint64_t room = 0;  // pages in the last chunk
    for (const auto& run : pages_.dirty.written) left += run.count;
    for (size_t number = 0; number < pages_.dirty.written.size(); ++number) {
      const DirtyPages::Run& run = pages_.dirty.written[number];
      for (uint64_t first = 0; first < run.count;) {
        if (room == 0) {
          room = std::min(left, kPagesAtOnce);
          TRY(add_chunk(number, room));
        }
        const uint64_t count = std::min(room, run.count - first);
        chunks_.back().pieces.push_back({run.address + first * kPageSize, count * kPageSize});
        first += count;
        room -= count;
        left -= count;
      }
    }
    return {};
  }
  Result<void> add_chunk(size_t first_run, uint64_t pages) {
    auto [slab, memory] = cutter_.cut(pages);
    if (slab == nullptr) return failure("no memory to copy pages into");
    if (pages_.memory.empty() || pages_.memory.back() != slab) pages_.memory.push_back(std::move(slab));
    pages_.contents.emplace_back(memory, pages * kPageSize);
    chunks_.push_back({{}, first_run, memory});
    return {};
  }
  void fail(Error error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }

  const TrackedSpace& space_;
  const TrackedSpace::Stretch stretch_;
  Cutter& cutter_;
  std::atomic<bool> taken_ = false, is_scanned_ = false;
  std::atomic<size_t> next_ = 0, copied_ = 0;
  std::vector<Chunk> chunks_;  // fixed once is_scanned_
  ReadPages pages_;
  int64_t scanned_ns_ = 0;
  std::mutex mutex_;
  std::optional<Error> error_;
};

}  // namespace

void ReadPages::append(ReadPages later) {
  dirty.append(later.dirty);
  std::ranges::move(later.contents, std::back_inserter(contents));
  std::ranges::move(later.memory, std::back_inserter(memory));
  std::ranges::move(later.lost, std::back_inserter(lost));
}

class PageReader::Reading {
 public:
  Reading(std::vector<TrackedSpace*> spaces, std::shared_ptr<PagePool> pool) : spaces_(std::move(spaces)), cutter_(std::move(pool)) {
    for (const TrackedSpace* space : spaces_) {
      for (const TrackedSpace::Stretch stretch : space->stretches()) works_.emplace_back(*space, stretch, cutter_);
    }
  }

  /// Scans what nobody has taken on, and copies what was found there.
  void take_part() {
    for (Work& work : works_) {
      if (!work.take_on()) continue;
      work.scan();
      work.copy_chunks();
    }
  }
  void read_running(const std::function<bool()>& may_copy) {
    for (Work& work : works_) {
      (void)work.take_on();
      work.scan();
    }
    const bool allowed = may_copy();
    for (Work& work : works_) work.copy_what_is_left(allowed);
  }
  /// Copies what others found, and waits for them.
  void help() {
    for (Work& work : works_) {
      for (const Pace pace; !work.is_scanned(); pace.step()) continue;
      work.copy_chunks();
    }
    for (Work& work : works_) {
      for (const Pace pace; !work.is_copied(); pace.step()) continue;
    }
  }
  Outcome take() {
    Outcome outcome;
    auto work = works_.begin();
    for (TrackedSpace* space : spaces_) {
      Result<ReadPages> pages;
      for (size_t count = space->stretches().size(); count != 0; --count, ++work) {
        outcome.scanned_ns = std::max(outcome.scanned_ns, work->scanned_ns());
        auto part = work->take();
        if (!part) pages = std::unexpected(std::move(part.error()));
        else if (pages) pages->append(std::move(*part));
      }
      if (pages) space->end_scan(pages->dirty.guards);
      outcome.spaces.push_back(std::move(pages));
    }
    return outcome;
  }

 private:
  const std::vector<TrackedSpace*> spaces_;
  Cutter cutter_;
  std::deque<Work> works_;
};

uint64_t put_pages(ReadPages pages, store::Changes& changes, const std::function<bool(uint64_t)>& is_wanted) {
  auto piece = pages.contents.begin();
  size_t offset = 0;
  uint64_t count = 0;
  for (const auto& run : pages.dirty.written) {
    for (uint64_t page = run.first_page; page < run.first_page + run.count; ++page) {
      if (offset == piece->size()) {
        ++piece;
        offset = 0;
      }
      if (!is_wanted || is_wanted(page)) {
        changes.put_page(run.space, page, piece->data() + offset);
        ++count;
      }
      offset += kPageSize;
    }
  }
  if (count != 0) changes.adopt_pages(std::move(pages.memory), count);
  return count;
}

std::unique_ptr<PageReader> PageReader::create() {
  std::unique_ptr<PageReader> reader(new PageReader);
  reader->thread_ = thread_without_signals([&served = *reader] { served.serve(); });
  return reader;
}

PageReader::~PageReader() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  offered_or_over_.notify_one();
  thread_.join();
}

/// Left to itself, the kernel has the thread run where it was woken, in the caller's place. False where there is no other processor.
bool PageReader::keep_off(int processor) {
  if (processor == avoided_) return true;
  cpu_set_t processors;
  if (::sched_getaffinity(0, sizeof processors, &processors) != 0) return false;
  CPU_CLR(static_cast<size_t>(processor), &processors);
  if (CPU_COUNT(&processors) == 0 || ::pthread_setaffinity_np(thread_.native_handle(), sizeof processors, &processors) != 0) return false;
  avoided_ = processor;
  return true;
}

void PageReader::begin(std::vector<TrackedSpace*> spaces) {
  reading_ = std::make_shared<Reading>(std::move(spaces), pool_);
  if (!keep_off(::sched_getcpu())) return;
  {
    const std::lock_guard lock(mutex_);
    offered_ = reading_;
  }
  offered_or_over_.notify_one();
}

PageReader::Outcome PageReader::finish() {
  const auto reading = std::exchange(reading_, nullptr);
  // A thread that comes late finds nothing left to take on, and touches no space.
  reading->take_part();
  reading->help();
  return reading->take();
}

std::vector<Result<ReadPages>> PageReader::read_running(std::vector<TrackedSpace*> spaces, const std::function<bool()>& may_copy) {
  Reading reading(std::move(spaces), pool_);
  reading.read_running(may_copy);
  return reading.take().spaces;
}

void PageReader::serve() {
  for (;;) {
    std::unique_lock lock(mutex_);
    offered_or_over_.wait(lock, [&] { return over_ || offered_ != nullptr; });
    if (over_) return;
    const auto reading = std::exchange(offered_, nullptr);
    lock.unlock();
    reading->take_part();
  }
}

}  // namespace perdure::memory
