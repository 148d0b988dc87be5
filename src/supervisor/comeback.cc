// A group whose program crashed, brought back from its checkpoints (--on-crash resume).
#include <sys/wait.h>

#include <algorithm>

#include "supervisor/internal.h"

namespace perdure::supervisor {

/// A signal that was passed on was meant, whatever it is.
bool Supervisor::crashed() const {
  if (!options_.resume_crashed || detached_ || !root_status_) return false;
  return is_crash(*root_status_) && !forwarded_.contains(WTERMSIG(*root_status_));
}

/// Whether the next life is to begin; what it begins with is then in `comeback_`, but for the store. The group's processes are gone, and what could
/// be made durable is.
bool Supervisor::plan_comeback() {
  if (!crashed() || writer_->status().audit_failed) return false;
  {
    const std::lock_guard lock(mutex_);
    if (kill_requested_) return false;
  }
  const std::string crash = describe_signal(WTERMSIG(*root_status_));
  std::vector<store::EpochInfo> history;
  writer_->with_store([&](store::Store& store) { history = store.history(); });
  std::erase_if(history, [&](const auto& info) { return !lineage_.contains(info.epoch); });
  if (history.empty()) {
    complain(fmt::format("group '{}' crashed ({}) before its first checkpoint was durable: there is nothing to resume", options_.name, crash));
    return false;
  }
  if (!crash_row_.note_crash(monotonic_ns() - began_ns_)) {
    complain(fmt::format("group '{}' crashed ({}) again after {} resumes in a row: it is not resumed any more", options_.name, crash, crash_row_.resumes()));
    return false;
  }
  const size_t newest = history.size() - 1;
  const store::EpochNumber last = history[newest - std::min(newest, crash_row_.step_back())].epoch;
  comeback_ = Comeback{.store = nullptr, .last_epoch = last, .crash = crash, .lineage = lineage_, .row = crash_row_};
  return true;
}

Result<void> Supervisor::come_back(store::Store& store) {
  const std::string crash = fmt::format("group '{}' crashed ({})", options_.name, comeback_->crash);
  if (auto restored = restore_program(store); !restored) {
    return std::unexpected(std::move(restored).error().in(crash + ", and cannot be resumed"));
  }
  complain(fmt::format("{}: it goes on from epoch {} (resume {} of {} in a row)", crash, resumed_epoch_, crash_row_.resumes(), CrashRow::kResumesMax));
  lineage_ = std::move(comeback_->lineage);
  // What going back to it has written, if anything, is the same again.
  lineage_.go_on(resumed_epoch_, store.last_epoch());
  comeback_.reset();
  return {};
}

Result<int> run_group(const RunOptions& options) {
  std::optional<Comeback> comeback;
  for (;;) {
    Supervisor supervisor(options, std::move(comeback));
    const int status = TRY(supervisor.run());
    comeback = supervisor.comeback();
    if (!comeback) return status;
  }
}

}  // namespace perdure::supervisor
