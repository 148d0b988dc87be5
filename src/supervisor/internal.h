// What the parts of a Supervisor share among themselves.
#pragma once

#include <fmt/format.h>
#include <sys/signalfd.h>

#include <array>
#include <deque>
#include <future>
#include <set>

#include "base/clock.h"
#include "memory/lazy_fill.h"
#include "posix/wake_watch.h"
#include "supervisor/attached_group.h"
#include "supervisor/control.h"
#include "supervisor/crashes.h"
#include "supervisor/supervisor.h"
#include "supervisor/terminal.h"
#include "supervisor/writer.h"

namespace perdure::supervisor {

inline constexpr int64_t kDurableTimeoutNs = 60 * kNanosecondsPerSecond;

/// A line for whoever runs the group.
inline void complain(const std::string& line) { fmt::print(stderr, "perdure: {}\n", line); }

/// A request that the control thread hands to the thread that takes checkpoints.
struct CheckpointRequest {
  std::string label;
  std::promise<Result<store::EpochNumber>> done;
  int64_t tried_since_ns = 0;  ///< 0: not yet
  int attempts = 0;
};

/// A group whose program crashed, on its way to the supervisor of its next life.
struct Comeback {
  std::unique_ptr<store::Store> store;  ///< kept, and with it the lock: nobody else takes the group over meanwhile
  store::EpochNumber last_epoch;        ///< the newest to go on from
  std::string crash;                    ///< what ended the program
  Lineage lineage;
  CrashRow row;
};

/// One life of a group: from its start or restore to its end, or to a crash that it is to come back from.
class Supervisor {
 public:
  Supervisor(const RunOptions& options, std::optional<Comeback> comeback)
      : options_(options), comeback_(std::move(comeback)), crash_row_(comeback_ ? comeback_->row : CrashRow()) {}
  Result<int> run();
  /// After run(): what the next life begins with; absent when the group has ended.
  std::optional<Comeback> comeback() { return std::move(comeback_); }

 private:
  Result<void> prepare_signals();
  Result<std::unique_ptr<store::Store>> open_store();
  Result<void> settle_command(store::Store& store);
  Result<void> redirect_streams();
  Result<void> prepare_terminal(const std::optional<Fd>& file_system, unsigned number);
  Result<void> enter_namespaces(store::Store& store, const std::optional<GroupClocks>& clocks, unsigned terminal_number);
  Result<posix::Collector> take_collector();
  Result<void> begin_capture();
  int64_t earliest_next_ns(int64_t begin_ns) const;
  Result<void> await_memory();
  Result<void> attach_process();
  Result<void> attach_or_leave_nothing(const store::Store& store);
  Result<void> start_program(store::Store& store);
  bool may_restore(store::EpochNumber epoch) const;
  Result<void> begin_life(store::Store& store);
  Result<void> restore_program(store::Store& store);
  Result<void> come_back(store::Store& store);
  Result<void> restore_epoch(store::Store& store, std::unique_ptr<store::View> owned_view, posix::ObjectTree owned_tree, std::optional<Error>& damage);
  Result<int> loop();
  bool rest();
  bool hear_from_init();
  bool init_died();
  void await_root_status();
  void end_attached();
  void forward_signals();
  void forward_signal(const signalfd_siginfo& information);
  void stop_with_program(pid_t target);
  void detach_on_signal();
  void accept_requests();
  void serve_requests();
  void refuse_requests();
  std::unexpected<Error> detached() const;
  void take_checkpoint();
  Result<store::EpochNumber> checkpoint_now(const std::string& label);
  void note_failure(const Error& error);
  nlohmann::json handle(const nlohmann::json& request);
  nlohmann::json status_report();
  void tell_writer_trouble(const Writer::Status& writer);
  bool crashed() const;
  bool plan_comeback();
  void release_group();
  Result<void> record_end();

  const RunOptions& options_;
  std::optional<Comeback> comeback_;  ///< while the life begins: what it comes back from; when it has ended: what the next one begins with
  CrashRow crash_row_;
  std::string directory_;
  Fd signals_;
  uint64_t program_signal_mask_ = 0;
  Fd requests_ready_;
  std::mutex mutex_;
  std::deque<CheckpointRequest> requests_;
  std::deque<CheckpointRequest> waiting_;  ///< those of them that were accepted, and are tried until it goes well
  int64_t serve_ns_ = 0;                   ///< when those are tried next
  bool closed_ = false;  ///< nobody serves requests any more
  bool kill_requested_ = false;
  bool detach_requested_ = false;
  bool detached_ = false;  ///< the program runs on without being persisted
  nlohmann::json report_;
  std::promise<Result<void>> end_;  ///< kept when all of the group's end is recorded, or that has failed
  std::shared_future<Result<void>> ended_ = end_.get_future().share();
  std::unique_ptr<GroupTerminal> terminal_;
  std::array<int, 3> streams_{0, 1, 2};  ///< what the program gets; borrowed
  /// A restore of which not all memory is there yet: no checkpoint is taken until it is.
  struct LazyRestore {
    std::unique_ptr<store::View> view;
    posix::ObjectTree tree;
    std::unique_ptr<memory::LazyFill> fill;
  };
  std::optional<LazyRestore> lazy_;              ///< outlives the group
  std::optional<GroupInit> init_;                ///< absent when attached
  std::unique_ptr<AttachedGroup> attached_;
  std::future<Result<posix::Collector>> collector_;  ///< being made in a thread of its own, until it is the capturer's
  std::unique_ptr<capture::Capturer> capturer_;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<ControlServer> control_;
  std::optional<posix::WakeWatch> watch_;
  int idle_periods_ = 0;
  bool disk_behind_ = false;  ///< the last period passed without a checkpoint, since the writer had no room
  bool resume_ = false;
  int root_pid_ = 0;
  std::optional<int> root_status_;
  std::set<int> forwarded_;  ///< the signals that were passed on to the program
  int64_t began_ns_ = 0;
  Lineage lineage_;
  store::EpochNumber last_epoch_ = 0;
  store::EpochNumber resumed_epoch_ = 0;  ///< the epoch that this supervisor restored; 0: it started the program
  int64_t last_pause_ns_ = 0;  ///< 0: the last attempt found nothing that had changed
  int64_t failing_since_ns_ = 0;
  uint64_t failed_epochs_ = 0;  ///< periods without a checkpoint, since none could be taken
  std::string failure_;
  bool complained_ = false;
  std::string told_store_error_;  ///< the writer's trouble that the user has been told of
  std::string told_sync_error_;
};

}  // namespace perdure::supervisor
