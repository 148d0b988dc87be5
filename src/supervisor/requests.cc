// What other commands ask of a supervisor, and what it says of its group.
#include <unistd.h>

#include <iterator>

#include "supervisor/history_report.h"
#include "supervisor/internal.h"

namespace perdure::supervisor {

void Supervisor::accept_requests() {
  uint64_t count = 0;
  (void)!::read(requests_ready_.get(), &count, sizeof count);
  serve_ns_ = monotonic_ns();
  const std::lock_guard lock(mutex_);
  std::ranges::move(requests_, std::back_inserter(waiting_));
  requests_.clear();
}

std::unexpected<Error> Supervisor::detached() const {
  return failure(fmt::format("group '{}' was detached: it takes no more checkpoints", options_.name));
}

/// What fails because of the moment (vfork, a crowd that comes and goes) is tried again, while the group and its periods go on. Before all of a group's
/// memory is there, nothing is tried.
void Supervisor::serve_requests() {
  constexpr int64_t kPatienceNs = kNanosecondsPerSecond;
  constexpr int kAttemptsMin = 20;  // a loaded machine may pass the time without a try
  constexpr int64_t kStepNs = 1'000'000;
  const int64_t begin_ns = monotonic_ns();
  if (begin_ns < serve_ns_) return;
  if (lazy_) {
    serve_ns_ = begin_ns + kStepNs;
    return;
  }
  for (CheckpointRequest& request : std::exchange(waiting_, {})) {
    if (request.attempts++ == 0) request.tried_since_ns = begin_ns;
    auto taken = detached_ ? detached() : checkpoint_now(request.label);
    const bool patient = request.attempts < kAttemptsMin || monotonic_ns() < request.tried_since_ns + kPatienceNs;
    if (!taken && taken.error().retry != Retry::pointless && patient) {
      waiting_.push_back(std::move(request));
      continue;
    }
    if (!taken) note_failure(taken.error());
    request.done.set_value(std::move(taken));
  }
  // The program runs for at least as long as it was held up.
  const int64_t end_ns = monotonic_ns();
  serve_ns_ = end_ns + kStepNs + (end_ns - begin_ns);
}

/// Whoever waits for an answer gets one, and nobody waits from now on.
void Supervisor::refuse_requests() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (CheckpointRequest& request : requests_) request.done.set_value(failure("the group has ended"));
  for (CheckpointRequest& request : waiting_) request.done.set_value(failure("the group has ended"));
  requests_.clear();
  waiting_.clear();
}

/// Once when it begins, and once when it is over.
void Supervisor::tell_writer_trouble(const Writer::Status& writer) {
  const bool failing = !writer.error.empty();
  if (failing != !told_store_error_.empty()) {
    complain(failing ? fmt::format("group '{}': checkpoints cannot be written: {}: the group runs on, and they will be tried again",
                                   options_.name, writer.error)
                     : fmt::format("group '{}': checkpoints are written again", options_.name));
  }
  told_store_error_ = writer.error;
  if (writer.sync_error != told_sync_error_) complain(fmt::format("group '{}': not safe from a power cut: {}", options_.name, writer.sync_error));
  told_sync_error_ = writer.sync_error;
}

nlohmann::json Supervisor::status_report() {
  const auto writer = writer_->status();
  tell_writer_trouble(writer);
  nlohmann::json report{{"name", options_.name},
                        {"state", "live"},
                        {"supervisor_pid", getpid()},
                        {"root_pid", root_pid_},
                        {"resumed_epoch", resumed_epoch_},
                        {"init_pid", init_ ? init_->init_pid() : 0},
                        {"pids", capturer_->host_pids()},
                        {"epoch", writer.submitted},
                        {"durable_epoch", writer.durable},
                        {"queued_epochs", writer.queued},
                        {"period_us", options_.period_ns / 1000},
                        {"idle", idle_periods_ > 0},
                        {"disk_behind", disk_behind_},
                        {"failed_epochs", failed_epochs_},
                        {"stored_bytes", writer.usage.stored_bytes},
                        {"live_bytes", writer.usage.live_bytes},
                        {"not_persisted", failure_},
                        {"store_error", writer.error},
                        {"sync_error", writer.sync_error}};
  report.update(pause_report(writer.pause));
  const std::lock_guard lock(mutex_);
  report_ = report;
  return report;
}

nlohmann::json Supervisor::handle(const nlohmann::json& request) {
  const std::string command = request["command"];
  if (command == "status") {
    const auto writer = writer_->status();
    const std::lock_guard lock(mutex_);
    nlohmann::json report = report_;
    report["durable_epoch"] = writer.durable;
    report["durable_age_ms"] = writer.durable_realtime_ns == 0 ? -1 : (realtime_ns() - writer.durable_realtime_ns) / 1'000'000;
    report["store_error"] = writer.error;
    report["durable_lag_us"] = static_cast<double>(writer.durable_lag_ns) / 1000;
    report["sync_error"] = writer.sync_error;
    report["detached"] = detached_;
    return report;
  }
  if (command == "log") {
    nlohmann::json reply;
    writer_->with_store([&](store::Store& store) { reply["epochs"] = history_report(store); });
    return reply;
  }
  if (command != "checkpoint" && command != "kill" && command != "detach") return {{"error", "the supervisor does not know this command"}};
  CheckpointRequest work{.label = request.value("label", ""), .done = {}};
  auto done = work.done.get_future();
  {
    const std::lock_guard lock(mutex_);
    if (closed_ && command != "kill") return {{"error", "the group has ended"}};
    if (command == "kill") kill_requested_ = true;
    else if (command == "detach") detach_requested_ = true;
    else if (detach_requested_) return {{"error", detached().error().message()}};
    else requests_.push_back(std::move(work));
  }
  const uint64_t one = 1;
  (void)!::write(requests_ready_.get(), &one, sizeof one);
  if (command == "kill") {
    if (const auto& end = ended_.get(); !end) return {{"error", end.error().message()}};
    return {{"killed", options_.name}};
  }
  if (command == "detach") return {{"detached", options_.name}};
  const auto epoch = done.get();
  if (!epoch) return {{"error", epoch.error().message()}};
  if (!writer_->wait_durable(*epoch, kDurableTimeoutNs)) return {{"error", "the checkpoint is not durable: " + writer_->status().error}};
  return {{"epoch", *epoch}};
}

}  // namespace perdure::supervisor
