// The life of a group under its supervisor: a checkpoint each period, until the program ends.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>

#include "supervisor/group_directory.h"
#include "supervisor/internal.h"

namespace perdure::supervisor {

namespace {

constexpr int64_t kComplaintDelayNs = kNanosecondsPerSecond;
/// Before the first checkpoint a program may be still on its way into being (fork, exec).
constexpr int64_t kFirstComplaintDelayNs = kComplaintDelayNs / 5;
/// Attaching the watch costs more than a few looks.
constexpr int kIdlePeriodsBeforeRest = 8;
constexpr const char* kAuditFailed = "a checkpoint differs from what the group was";

}  // namespace

Result<int> Supervisor::run() {
  TRY(check_name(options_.name));
  directory_ = group_directory(options_.root, options_.name);
  TRY(prepare_signals());
  collector_ = std::async(std::launch::async, [] { return posix::Collector::create(); });
  auto store = TRY(open_store());
  AttachedGroup::sweep(options_.name);
  // What is said of a group that is not left behind cannot go to a file of its directory.
  if (options_.attach_pid != 0) TRY(attach_or_leave_nothing(*store));
  if (options_.detach) TRY(redirect_streams());
  if (!attached_) TRY(begin_life(*store));
  if (attached_ || !resume_) capturer_->begin_with(TRY(store->changes_to_nothing()));
  TRY(store->set_property(kStateProperty, kStateLive));
  // Without the watch, a resting group is looked at once a period.
  if (auto watch = capturer_->watch_wakes()) watch_ = std::move(*watch);
  if (terminal_) terminal_->connect();
  writer_ = std::make_unique<Writer>(std::move(store), Writer::Limits{});
  last_epoch_ = writer_->status().durable;
  status_report();
  control_ = TRY(ControlServer::start(control_socket_path(directory_), [this](const auto& request) { return handle(request); }));
  began_ns_ = monotonic_ns();
  const auto status = loop();
  refuse_requests();
  if (status) release_group();
  const bool comes_back = status && plan_comeback();
  Result<void> ended = failure("the group has crashed and is being resumed: try again");
  if (!comes_back) ended = status ? record_end() : std::unexpected(status.error());
  end_.set_value(ended);
  control_.reset();
  auto kept = writer_->close();
  if (comes_back) comeback_->store = std::move(kept);
  else if (!ended) return std::unexpected(ended.error());
  return status;
}

/// Sleeps the group? Then so do we, until one of its tasks wakes. True when the watch is set.
bool Supervisor::rest() {
  if (!watch_ || lazy_ || idle_periods_ < kIdlePeriodsBeforeRest) return false;
  // Whether what is under way goes well is told in this thread.
  if (const auto written = writer_->status(); written.durable != written.submitted) return false;
  if (!watch_->arm()) {
    watch_.reset();
    return false;
  }
  // Who woke before the watch was set is seen here.
  if (auto idle = capturer_->idle(); idle && *idle) return true;
  watch_->disarm();
  return false;
}

Result<int> Supervisor::loop() {
  int64_t next_ns = monotonic_ns();
  for (;;) {
    const int64_t now_ns = monotonic_ns();
    if (now_ns >= next_ns) {
      if (lazy_) TRY(await_memory());
      if (detached_ || lazy_) TRY(capturer_->look());
      else if (disk_behind_ = !writer_->has_room(); !disk_behind_) take_checkpoint();
      else status_report();
      if (!capturer_->group_alive()) {
        await_root_status();
        if (!init_died()) break;
        return failure("the group's init was killed, and the group with it: run the same command to resume it");
      }
      if (writer_->status().audit_failed) return failure(kAuditFailed);
      next_ns = std::max(next_ns + options_.period_ns, earliest_next_ns(now_ns));
    }
    const bool resting = waiting_.empty() && rest();
    std::array<pollfd, 4> wanted{{{init_ ? init_->socket() : attached_->pidfd(), POLLIN, 0},
                                  {signals_.get(), POLLIN, 0},
                                  {requests_ready_.get(), POLLIN, 0},
                                  {resting ? watch_->fd() : -1, POLLIN, 0}}};
    std::optional<int64_t> wake_ns = resting ? capturer_->next_overdue_ns() : next_ns;
    if (!waiting_.empty()) wake_ns = std::min(next_ns, serve_ns_);
    const timespec patience = to_timespec(std::max<int64_t>(wake_ns.value_or(0) - monotonic_ns(), 0));
    if (ppoll(wanted.data(), wanted.size(), wake_ns ? &patience : nullptr, nullptr) < 0 && errno != EINTR) {
      return system_error("poll");
    }
    if (resting) {
      watch_->disarm();
      idle_periods_ = 0;
      next_ns = std::max(next_ns, monotonic_ns());
    }
    if (wanted[0].revents != 0) hear_from_init();
    // What is left of its processes is no program any more.
    if (crashed() && !init_died()) break;
    if (wanted[1].revents != 0) attached_ ? detach_on_signal() : forward_signals();
    if (wanted[2].revents != 0) accept_requests();
    if (!waiting_.empty()) serve_requests();
    {
      const std::lock_guard lock(mutex_);
      if (kill_requested_) {
        root_status_ = SIGKILL;
        if (attached_) end_attached();
        break;
      }
      if (detach_requested_) {
        if (attached_) return 0;
        detached_ = true;
        capturer_->end_tracking();
      }
    }
    // The program's end need not wait for the next period to be noticed.
    if (root_status_ && wanted[0].revents != 0 && init_) next_ns = monotonic_ns();
  }
  return root_status_.value_or(0);
}

/// The program runs for at least as long as it was held up; and as long as the whole epoch took, that is, what followed the pause, too, where that may have
/// kept it from a processor. How long it was held up by an epoch that came to nothing, nobody knows.
int64_t Supervisor::earliest_next_ns(int64_t begin_ns) const {
  const int64_t end_ns = monotonic_ns();
  const unsigned runnable = runnable_tasks();
  const bool is_crowded = runnable == 0 || runnable - 1 > std::thread::hardware_concurrency();  // not known, or more than we
  if (failing_since_ns_ != 0 || is_crowded) return end_ns + (end_ns - begin_ns);
  return std::max(end_ns, begin_ns + 2 * last_pause_ns_);
}

/// What comes of a lazy restore.
Result<void> Supervisor::await_memory() {
  if (auto error = lazy_->fill->error()) {
    return std::unexpected(std::move(*error).in(fmt::format("memory of group '{}' cannot be read, and the group is ended (try it without --lazy)", options_.name)));
  }
  if (!lazy_->fill->is_filled()) return {};
  const auto taken = detached_ ? Result<void>() : capturer_->take_over_running(*lazy_->view, lazy_->tree, *lazy_->fill);
  // What is in the way may pass.
  if (!taken) note_failure(taken.error());
  else lazy_.reset();
  return {};
}

/// The capture may see that the group is gone before the shepherd's word of how it ended has been read.
void Supervisor::await_root_status() {
  constexpr int kPatienceMs = 1000;
  while (init_ && !root_status_) {
    pollfd word{init_->socket(), POLLIN, 0};
    if (::poll(&word, 1, kPatienceMs) <= 0 || !hear_from_init()) return;
  }
}

/// A group without processes has ended if its init lives on. One that was killed takes the group with it, and is on its way out before
/// the first of them dies, whatever the shepherd could still tell.
bool Supervisor::init_died() {
  return init_ && (!capturer_->look() || !capturer_->init_alive());
}

/// Takes one message; false when there will be no more.
bool Supervisor::hear_from_init() {
  if (!init_) {
    // Its status is its parent's to know.
    if (!root_status_) root_status_ = 0;
    return false;
  }
  const auto message = init_->receive();
  if (!message || !*message) return false;
  if ((*message)->kind != PERDURE_INIT_CHILD || (*message)->pid != root_pid_) return true;
  const int status = (*message)->status;
  if (WIFEXITED(status) || WIFSIGNALED(status)) root_status_ = status;
  return true;
}

void Supervisor::end_attached() {
  for (const pid_t pid : capturer_->host_pids()) ::kill(pid, SIGKILL);
}

void Supervisor::forward_signals() {
  signalfd_siginfo information{};
  while (::read(signals_.get(), &information, sizeof information) == sizeof information) {
    // The group's own terminal tells of its new size.
    const bool resized = information.ssi_signo == SIGWINCH && terminal_;
    if (resized) terminal_->resize();
    if (!resized || information.ssi_code != SI_KERNEL) forward_signal(information);
  }
}

/// A key of the terminal means all that run in the foreground, as job control does; what somebody sent is for the program alone.
void Supervisor::forward_signal(const signalfd_siginfo& information) {
  const int number = static_cast<int>(information.ssi_signo);
  forwarded_.insert(number);
  const pid_t root = capturer_->host_pid_of(root_pid_);
  if (root <= 0) return;
  const pid_t process_group = ::getpgid(root);
  const pid_t all = process_group > 0 ? -process_group : root;
  if (number == SIGTSTP) {
    stop_with_program(all);
  } else if (number == SIGCONT || information.ssi_code == SI_KERNEL) {
    ::kill(all, number);
  } else if (information.ssi_code == SI_QUEUE) {
    ::sigqueue(root, number, {.sival_ptr = reinterpret_cast<void*>(information.ssi_ptr)});
  } else {
    ::kill(root, number);
  }
}

/// By SIGSTOP: the group's session has no shell outside of it, and the kernel lets SIGTSTP stop nothing then. The SIGCONT that ends it is
/// forwarded like any other.
void Supervisor::stop_with_program(pid_t target) {
  ::kill(target, SIGSTOP);
  if (terminal_) terminal_->set_raw(false);
  ::raise(SIGSTOP);
  if (terminal_) terminal_->set_raw(true);
}

/// Whoever ends a command that only looks on does not mean the process, which was there before it.
void Supervisor::detach_on_signal() {
  constexpr std::array<uint32_t, 4> kEnding{SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  signalfd_siginfo information{};
  while (::read(signals_.get(), &information, sizeof information) == sizeof information) {
    if (std::ranges::find(kEnding, information.ssi_signo) == kEnding.end()) continue;
    const std::lock_guard lock(mutex_);
    detach_requested_ = true;
  }
}

void Supervisor::note_failure(const Error& error) {
  const int64_t now_ns = monotonic_ns();
  if (failing_since_ns_ == 0) failing_since_ns_ = now_ns;
  failure_ = error.message();
  const int64_t delay_ns = last_epoch_ == 0 ? kFirstComplaintDelayNs : kComplaintDelayNs;
  if (complained_ || now_ns - failing_since_ns_ < delay_ns) return;
  complained_ = true;
  complain(fmt::format("{} '{}' is not being persisted: {}", "group", options_.name, failure_));
  if (options_.strict) {
    const std::lock_guard lock(mutex_);
    kill_requested_ = true;
  }
}

Result<store::EpochNumber> Supervisor::checkpoint_now(const std::string& label) {
  auto taken = capturer_->capture();
  if (!taken) return std::unexpected(taken.error());
  if (failing_since_ns_ != 0 && complained_ && capturer_->group_alive()) {
    complain(fmt::format("group '{}' is being persisted again", options_.name));
  }
  failing_since_ns_ = 0;
  complained_ = false;
  failure_.clear();
  idle_periods_ = *taken ? 0 : idle_periods_ + 1;
  last_pause_ns_ = *taken ? (*taken)->figures.pause_ns : 0;
  if (*taken) {
    last_epoch_ = writer_->submit(std::move(**taken), label);
  } else if (!label.empty() && capturer_->group_alive()) {
    last_epoch_ = writer_->submit({}, label);
  }
  return last_epoch_;
}

void Supervisor::take_checkpoint() {
  if (auto taken = checkpoint_now(""); !taken) {
    ++failed_epochs_;
    note_failure(taken.error());
  }
  status_report();
}

/// Ends what is left of the group, and makes durable what was taken of it.
void Supervisor::release_group() {
  init_.reset();
  attached_.reset();
  terminal_.reset();
  {
    const std::lock_guard lock(mutex_);
    report_["pids"] = nlohmann::json::array();
  }
  if (!writer_->drain(kDurableTimeoutNs)) complain("the last checkpoints could not be written: " + writer_->status().error);
}

Result<void> Supervisor::record_end() {
  const bool audit_failed = writer_->status().audit_failed;
  Result<void> recorded;
  writer_->with_store([&](store::Store& store) { recorded = store.set_property(kStateProperty, kStateEnded); });
  if (!recorded) {
    constexpr const char* kAdvice = "group '{}' has ended, which cannot be recorded: the next run will resume it";
    return std::unexpected(std::move(recorded).error().in(fmt::format(kAdvice, options_.name)));
  }
  if (audit_failed) return failure(kAuditFailed);
  return {};
}

}  // namespace perdure::supervisor
