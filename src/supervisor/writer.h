// The thread that makes checkpoints durable while the group runs on.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "capture/capturer.h"
#include "store/store.h"

namespace perdure::supervisor {

/// What is known of one checkpoint that was taken; written beside it into the store (EpochInfo::attributes).
struct EpochFigures {
  capture::Figures pause;
  int64_t queued_ns = 0;  ///< from the end of the pause until its write began
  int64_t previous_lag_ns = 0;  ///< of the epoch before: from the end of its pause until it was durable; 0: not known
};
std::string encode_figures(const EpochFigures& figures);
EpochFigures decode_figures(const std::string& attributes);

/// Owns the store while the group runs. Checkpoints go in by submit(), in order; each is made durable by one append. What could not be
/// written is merged with the next. Thread-safe.
class Writer {
 public:
  struct Limits {
    size_t queue_max = 8;                    ///< checkpoints waiting
    size_t staged_bytes_max = 512ull << 20;  ///< memory that they may hold
  };
  Writer(std::unique_ptr<store::Store> store, Limits limits);
  ~Writer();

  /// Whether another checkpoint may be taken now; if not, the disk is behind, and the period stretches.
  bool has_room() const;
  /// Hands over a checkpoint; returns its epoch.
  store::EpochNumber submit(capture::Checkpoint checkpoint, std::string label);
  /// Blocks until `epoch` is durable; false if it still is not when `timeout_ns` has passed.
  bool wait_durable(store::EpochNumber epoch, int64_t timeout_ns);
  /// Waits for everything submitted. False on timeout, and as soon as it is plain that it cannot be written now.
  bool drain(int64_t timeout_ns);

  struct Status {
    store::EpochNumber submitted = 0;
    store::EpochNumber durable = 0;
    int64_t durable_realtime_ns = 0;
    int64_t durable_lag_ns = 0;  ///< of the last durable epoch: from the end of the pause until it was durable
    bool audit_failed = false;  ///< an epoch differed from what the group was; the differences were printed
    std::string error;  ///< of the last append; empty when it went well
    std::string sync_error;  ///< of the last outside file that could not be synced: a power cut may take what it held
    uint64_t failed_appends = 0;
    size_t queued = 0;
    store::Usage usage;
    capture::Figures pause;  ///< of the last checkpoint that was handed over
  };
  Status status() const;
  /// Runs `work` with the store while no append is under way.
  void with_store(const std::function<void(store::Store&)>& work);
  /// Writes what is queued, or gives it up if that fails, and gives the store back; nothing else may be called afterwards.
  std::unique_ptr<store::Store> close();

 private:
  struct Item {
    store::EpochInfo info;
    store::Changes changes;
    EpochFigures figures;
    std::vector<std::shared_ptr<capture::OutsideFile>> to_sync;
    std::shared_ptr<const capture::Audit> audit;
    int64_t submitted_ns;
    int64_t pause_end_ns;  ///< where there was none: when it was submitted
  };
  void run();
  bool write_one(Item item);
  void reclaim();
  void sync_files(const Item& item);
  bool passes_audit(const Item& item);

  const Limits limits_;
  std::unique_ptr<store::Store> store_;
  std::mutex store_mutex_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> queue_;
  size_t staged_bytes_ = 0;
  bool stop_ = false;
  Status status_;
  std::thread thread_;
};

}  // namespace perdure::supervisor
