#include "supervisor/writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>

#include "base/clock.h"
#include "linux/process.h"

namespace perdure::supervisor {

namespace {
constexpr int64_t kRetryNs = 200'000'000;
}

std::string encode_figures(const EpochFigures& figures) {
  return {reinterpret_cast<const char*>(&figures), sizeof figures};
}

EpochFigures decode_figures(const std::string& attributes) {
  EpochFigures figures;
  std::memcpy(static_cast<void*>(&figures), attributes.data(), std::min(attributes.size(), sizeof figures));
  return figures;
}

Writer::Writer(std::unique_ptr<store::Store> store, Limits limits) : limits_(limits), store_(std::move(store)) {
  status_.submitted = status_.durable = store_->last_epoch();
  status_.usage = store_->usage();
  thread_ = std::thread([this] { run(); });
}

Writer::~Writer() { close(); }

std::unique_ptr<store::Store> Writer::close() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  return std::move(store_);
}

bool Writer::has_room() const {
  const std::lock_guard lock(mutex_);
  return queue_.size() < limits_.queue_max && staged_bytes_ < limits_.staged_bytes_max;
}

store::EpochNumber Writer::submit(capture::Checkpoint checkpoint, std::string label) {
  Item item;
  item.info.realtime_ns = realtime_ns();
  item.info.label = std::move(label);
  item.changes = std::move(checkpoint.changes);
  item.figures.pause = checkpoint.figures;
  item.to_sync = std::move(checkpoint.to_sync);
  item.audit = std::move(checkpoint.audit);
  item.submitted_ns = monotonic_ns();
  item.pause_end_ns = checkpoint.pause_end_ns != 0 ? checkpoint.pause_end_ns : item.submitted_ns;
  const std::lock_guard lock(mutex_);
  item.info.epoch = ++status_.submitted;
  const store::EpochNumber epoch = item.info.epoch;
  status_.pause = item.figures.pause;
  staged_bytes_ += item.changes.staged_bytes();
  queue_.push_back(std::move(item));
  changed_.notify_all();
  return epoch;
}

bool Writer::wait_durable(store::EpochNumber epoch, int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), [&] { return status_.durable >= epoch; });
}

bool Writer::drain(int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  const store::EpochNumber last = status_.submitted;
  // A single failure may be of the moment: the next try comes kRetryNs later.
  const uint64_t hopeless = status_.failed_appends + 2;
  changed_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), [&] { return status_.durable >= last || status_.failed_appends >= hopeless; });
  return status_.durable >= last;
}

Writer::Status Writer::status() const {
  const std::lock_guard lock(mutex_);
  Status status = status_;
  status.queued = queue_.size();
  return status;
}

void Writer::with_store(const std::function<void(store::Store&)>& work) {
  const std::lock_guard lock(store_mutex_);
  work(*store_);
}

void Writer::run() {
  for (;;) {
    Item item;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      item = std::move(queue_.front());
      queue_.pop_front();
    }
    if (!write_one(std::move(item))) return;
  }
}

/// Compares the store with what the group was; the store's lock is held.
bool Writer::passes_audit(const Item& item) {
  if (item.audit == nullptr) return true;
  const auto view = store_->view(item.info.epoch);
  std::vector<std::string> differences;
  if (view) differences = item.audit->compare(**view);
  else differences.push_back(view.error().message());
  for (const std::string& line : differences) fmt::print(stderr, "perdure: audit: epoch {}: {}\n", item.info.epoch, line);
  return differences.empty();
}

/// What is synced is the file as it is now, which holds all that the epoch speaks of. The epoch is written even where this fails: a kill
/// of the program takes nothing from the files.
void Writer::sync_files(const Item& item) {
  for (const auto& file : item.to_sync) {
    if (file->synced_ns >= item.submitted_ns) continue;
    const int64_t begin_ns = monotonic_ns();
    // EINVAL, EROFS: of a file system that keeps nothing on a disk.
    if (::fdatasync(file->fd.get()) == 0 || errno == EINVAL || errno == EROFS) {
      file->synced_ns = begin_ns;
      continue;
    }
    const Error error{"sync " + read_link(fmt::format("/proc/self/fd/{}", file->fd.get())).value_or("a file"), errno};
    const std::lock_guard lock(mutex_);
    status_.sync_error = error.message();
  }
}

/// What an epoch leaves to be done, while nobody waits for it.
void Writer::reclaim() {
  store::Usage usage;
  {
    const std::lock_guard lock(store_mutex_);
    (void)store_->reclaim();
    usage = store_->usage();
  }
  const std::lock_guard lock(mutex_);
  status_.usage = usage;
}

/// Tries until it is durable, or merged with a later one that is: nothing that was found dirty may be lost. False when that is not to be: the
/// epochs after it would be without its changes.
bool Writer::write_one(Item item) {
  for (;;) {
    sync_files(item);
    const size_t staged = item.changes.staged_bytes();
    item.figures.queued_ns = monotonic_ns() - item.pause_end_ns;
    item.figures.previous_lag_ns = status().durable_lag_ns;
    item.info.attributes = encode_figures(item.figures);
    Result<store::EpochInfo> appended = failure("");
    bool audited = true;
    int64_t appended_ns = 0;
    {
      const std::lock_guard lock(store_mutex_);
      appended = store_->append(item.info, item.changes);
      appended_ns = monotonic_ns();
      audited = !appended || passes_audit(item);
    }
    std::unique_lock lock(mutex_);
    status_.audit_failed |= !audited;
    if (appended) {
      status_.error.clear();
      status_.durable = item.info.epoch;
      status_.durable_realtime_ns = item.info.realtime_ns;
      status_.durable_lag_ns = appended_ns - item.pause_end_ns;
      staged_bytes_ -= staged;
      changed_.notify_all();
      lock.unlock();
      reclaim();
      return true;
    }
    status_.error = appended.error().message();
    ++status_.failed_appends;
    changed_.notify_all();
    if (stop_) return false;
    changed_.wait_for(lock, std::chrono::nanoseconds(kRetryNs), [&] { return stop_; });
    while (!queue_.empty()) {
      Item next = std::move(queue_.front());
      queue_.pop_front();
      item.changes.absorb(std::move(next.changes));
      item.info = std::move(next.info);
      item.figures = next.figures;
      item.to_sync.insert(item.to_sync.end(), next.to_sync.begin(), next.to_sync.end());
      item.submitted_ns = next.submitted_ns;
      item.pause_end_ns = next.pause_end_ns;
      item.audit = std::move(next.audit);
    }
  }
}

}  // namespace perdure::supervisor
