// What other commands ask of a supervisor, and what it says of its group.
#include <unistd.h>

#include "supervisor/history_report.h"
#include "supervisor/internal.h"

namespace perdure::supervisor {

void Supervisor::serve_requests() {
  uint64_t count = 0;
  (void)!::read(requests_ready_.get(), &count, sizeof count);
  std::deque<CheckpointRequest> requests;
  {
    const std::lock_guard lock(mutex_);
    requests.swap(requests_);
  }
  for (CheckpointRequest& request : requests) {
    constexpr int kAttempts = 50;
    auto taken = checkpoint_now(request.label);
    for (int attempt = 1; attempt < kAttempts && !taken && taken.error().error_number == EAGAIN; ++attempt) {
      usleep(1000);
      taken = checkpoint_now(request.label);
    }
    if (!taken) note_failure(taken.error());
    request.done.set_value(std::move(taken));
  }
}

/// Whoever waits for an answer gets one, and nobody waits from now on.
void Supervisor::refuse_requests() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (CheckpointRequest& request : requests_) request.done.set_value(failure("the group has ended"));
  requests_.clear();
}

nlohmann::json Supervisor::status_report() {
  const auto writer = writer_->status();
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
                        {"pause_us", static_cast<double>(last_pause_ns_) / 1000},
                        {"idle", idle_periods_ > 0},
                        {"disk_behind", disk_behind_},
                        {"stored_bytes", writer.usage.stored_bytes},
                        {"live_bytes", writer.usage.live_bytes},
                        {"not_persisted", failure_},
                        {"store_error", writer.error},
                        {"sync_error", writer.sync_error}};
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
  CheckpointRequest work{request.value("label", ""), {}};
  auto done = work.done.get_future();
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return {{"error", "the group has ended"}};
    if (command == "kill") kill_requested_ = true;
    else if (command == "detach") detach_requested_ = true;
    else requests_.push_back(std::move(work));
  }
  const uint64_t one = 1;
  (void)!::write(requests_ready_.get(), &one, sizeof one);
  if (command == "kill") return {{"killed", options_.name}};
  if (command == "detach") return {{"detached", options_.name}};
  const auto epoch = done.get();
  if (!epoch) return {{"error", epoch.error().message()}};
  if (!writer_->wait_durable(*epoch, kDurableTimeoutNs)) return {{"error", "the checkpoint is not durable: " + writer_->status().error}};
  return {{"epoch", *epoch}};
}

}  // namespace perdure::supervisor
