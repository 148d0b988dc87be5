// A group at rest: the threads that ran are stopped, the sleepers are left asleep.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <vector>

#include "base/result.h"
#include "capture/sleeps.h"
#include "linux/ptrace.h"
#include "linux/seize_patience.h"
#include "posix/collector.h"
#include "posix/half_done_transfer.h"

namespace perdure::capture {

/// Holds the group still. Destroying it lets every stopped thread run on.
class StoppedGroup {
 public:
  struct Options {
    /// Whether a thread is to be stopped even though it sleeps: it is expected to wake before the capture is over.
    std::function<bool(const posix::ThreadBrief&)> restless;
    /// Processes (by signal_struct address) that are in the namespaces but not of the group: see remove_foreign().
    std::set<uint64_t> foreign;
    bool kill_with_supervisor = true;
    int64_t timeout_ns = 100'000'000;
    /// Gets the threads that cannot be given back yet, since they exited before the rest of their processes.
    std::vector<TracedThread>* exited = nullptr;
    SeizePatience* patience = nullptr;
    Sleeps* sleeps = nullptr;
  };
  /// Stops what runs. Error when a thread can neither be stopped nor left asleep in time (uninterruptible sleep, vfork).
  static Result<StoppedGroup> stop(posix::Collector& collector, const Options& options);
  /// Holds nobody yet; for stop_sleeper().
  static StoppedGroup nobody(posix::Collector& collector, const Options& options);
  StoppedGroup(StoppedGroup&&) = default;
  StoppedGroup& operator=(StoppedGroup&&) = default;
  ~StoppedGroup();

  /// Every thread, zombies included, as of the moment when the group came to rest.
  const std::vector<posix::ThreadBrief>& threads() const { return threads_; }
  /// The tracer's hold on a stopped thread; null for a sleeper.
  TracedThread* traced(uint64_t task);
  /// Stops one more thread, a sleeper (to run a system call in it).
  Result<TracedThread*> stop_sleeper(const posix::ThreadBrief& thread);

  /// Checks that no sleeper ran since the group came to rest; returns the tasks that did.
  Result<std::vector<uint64_t>> disturbed() const;

 private:
  StoppedGroup(posix::Collector& collector, const Options& options) : collector_(&collector), options_(options) {}
  Result<void> interrupt(const posix::ThreadBrief& thread);
  Result<void> await_stops();
  Result<void> refuse_uninterruptible() const;
  Result<void> mend_once(uint64_t task, TracedThread& thread);
  Result<void> mend_interrupted_call(uint64_t task, TracedThread& thread);
  void give_back_stopped();
  void return_to_signal(uint64_t task, TracedThread& thread);
  Result<void> note_deadline(const posix::ThreadBrief& thread);
  Result<void> take_up_again(const posix::ThreadBrief& before, TracedThread& thread, user_regs_struct registers);
  Result<void> continue_transfer(const posix::ThreadBrief& before, TracedThread& thread, const user_regs_struct& registers);

  posix::Collector* collector_;
  Options options_;
  std::vector<posix::ThreadBrief> threads_;
  std::map<uint64_t, TracedThread> stopped_;
  std::map<uint64_t, posix::ThreadBrief> interrupted_;  ///< how those threads were seen before
  std::set<uint64_t> unmended_;                         ///< those of them whose calls were not seen to yet
  std::vector<TracedThread*> awaited_;
  bool shares_processor_ = false;  ///< one of those that are stopped runs where we do
  struct Continued {
    uint64_t mm;
    uint64_t address;  ///< of its data
    posix::HalfDoneTransfer transfer;
  };
  std::map<pid_t, Continued> continued_;  ///< by TID: how threads go on whose transfers this stop cut short
};

/// Leaves out the threads of processes that are not the group's.
template <typename Threads>
void remove_foreign(Threads& threads, const std::set<uint64_t>& foreign, auto signal_of) {
  if (!foreign.empty()) std::erase_if(threads, [&](const auto& thread) { return foreign.contains(signal_of(thread)); });
}

/// Whether the thread would come to a stop soon.
bool can_be_stopped(const posix::ThreadBrief& thread);
/// Whether the thread belongs to Perdure (the group's init and shepherd) rather than to the program.
bool is_scaffold(const posix::ThreadBrief& thread);
/// Whether this is the group's init, alive and not on its way out.
bool is_live_init(const posix::ThreadBrief& thread);
/// Whether the thread has exited and is only waited for.
bool is_dead(const posix::ThreadBrief& thread);

}  // namespace perdure::capture
