#include "memory/page_reader.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
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
/// Less is had from the heap, which has been written to before.
constexpr size_t kReserveMin = size_t{4} << 20;
constexpr uint64_t kSlackPages = 4096;

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

/// Gives memory of at least so many bytes.
using Allocate = std::function<AlignedBytes(size_t)>;

/// One space, which any thread may take on, and in whose copying any may take part.
class Work {
 public:
  Work(TrackedSpace& space, const Allocate& allocate) : space_(space), allocate_(allocate) {}

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
  bool is_scanned() const { return is_scanned_.load(std::memory_order_acquire); }
  bool is_copied() const { return copied_.load(std::memory_order_acquire) == chunks_.size(); }
  int64_t scanned_ns() const { return scanned_ns_; }
  Result<ReadPages> take() {
    if (error_) return std::unexpected(std::move(*error_));
    return std::move(pages_);
  }

 private:
  struct Chunk {
    std::vector<RemotePiece> pieces;
    std::byte* to;
  };
  Result<void> prepare() {
    pages_.dirty = TRY(space_.scan());
    uint64_t total = 0;
    for (const auto& run : pages_.dirty.written) total += run.count;
    pages_.contents = allocate_(total * kPageSize);
    if (total != 0 && pages_.contents == nullptr) return failure("no memory to copy pages into");
    std::byte* to = pages_.contents.get();
    uint64_t room = 0;
    for (const auto& run : pages_.dirty.written) {
      for (uint64_t first = 0; first < run.count;) {
        if (room == 0) {
          chunks_.push_back({{}, to});
          room = kPagesAtOnce;
        }
        const uint64_t count = std::min(room, run.count - first);
        chunks_.back().pieces.push_back({run.address + first * kPageSize, count * kPageSize});
        first += count;
        room -= count;
        to += count * kPageSize;
      }
    }
    return {};
  }
  void fail(Error error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }

  TrackedSpace& space_;
  const Allocate& allocate_;
  std::atomic<bool> taken_ = false, is_scanned_ = false;
  std::atomic<size_t> next_ = 0, copied_ = 0;
  std::vector<Chunk> chunks_;  // fixed once is_scanned_
  ReadPages pages_;
  int64_t scanned_ns_ = 0;
  std::mutex mutex_;
  std::optional<Error> error_;
};

}  // namespace

class PageReader::Reading {
 public:
  Reading(const std::vector<TrackedSpace*>& spaces, Reserve reserve)
      : reserve_(std::move(reserve)), allocate_([this](size_t size) { return allocate(size); }) {
    for (TrackedSpace* space : spaces) works_.emplace_back(*space, allocate_);
  }

  /// Scans what nobody has taken on, and copies what was found there.
  void take_part() {
    for (Work& work : works_) {
      if (!work.take_on()) continue;
      work.scan();
      work.copy_chunks();
    }
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
    for (Work& work : works_) {
      outcome.scanned_ns = std::max(outcome.scanned_ns, work.scanned_ns());
      outcome.spaces.push_back(work.take());
    }
    return outcome;
  }
  /// What nobody needed.
  Reserve give_back() { return std::move(reserve_); }

 private:
  AlignedBytes allocate(size_t size) {
    const std::lock_guard lock(mutex_);
    if (reserve_.memory == nullptr || size < kReserveMin || size > reserve_.size) return allocate_aligned(size);
    return std::exchange(reserve_, {}).memory;
  }

  std::mutex mutex_;
  Reserve reserve_;
  const Allocate allocate_;
  std::deque<Work> works_;
};

void put_pages(ReadPages pages, store::Changes& changes) {
  uint64_t count = 0;
  for (const auto& run : pages.dirty.written) {
    for (uint64_t page = 0; page < run.count; ++page) changes.put_page(run.space, run.first_page + page, pages.contents.get() + count++ * kPageSize);
  }
  if (count != 0) changes.adopt_pages(std::move(pages.contents), count);
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

void PageReader::reserve(uint64_t pages) {
  // Some more than the last time, and never what others may need.
  const uint64_t free_pages = static_cast<uint64_t>(std::max(::sysconf(_SC_AVPHYS_PAGES), 0l));
  const uint64_t wanted = pages + std::min(pages / 4, kSlackPages);
  const size_t size = wanted > free_pages / 2 ? 0 : wanted * kPageSize;
  if (size >= kReserveMin && reserve_.size >= pages * kPageSize && reserve_.size / 2 <= size) return;
  reserve_ = {};
  if (size < kReserveMin) return;
  reserve_.memory = allocate_aligned(size);
  if (reserve_.memory == nullptr) return;
  reserve_.size = size;
  (void)::madvise(reserve_.memory.get(), size, MADV_POPULATE_WRITE);
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
  reading_ = std::make_shared<Reading>(spaces, std::exchange(reserve_, {}));
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
  reserve_ = reading->give_back();
  return reading->take();
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
