#include "supervisor/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <future>

#include "base/clock.h"
#include "posix/wake_watch.h"
#include "linux/process.h"
#include "linux/pseudo_terminal.h"
#include "posix/terminal.h"
#include "restore/restore.h"
#include "supervisor/attached_group.h"
#include "supervisor/control.h"
#include "supervisor/group_directory.h"
#include "supervisor/history_report.h"
#include "supervisor/terminal.h"
#include "supervisor/writer.h"

extern char** environ;

namespace perdure::supervisor {

namespace {

constexpr int64_t kComplaintDelayNs = kNanosecondsPerSecond;
/// Before the first checkpoint a program may be still on its way into being (fork, exec).
constexpr int64_t kFirstComplaintDelayNs = kComplaintDelayNs / 5;
/// Attaching the watch costs more than a few looks.
constexpr int kIdlePeriodsBeforeRest = 8;
constexpr const char* kAuditFailed = "a checkpoint differs from what the group was";
constexpr int64_t kDurableTimeoutNs = 60 * kNanosecondsPerSecond;
constexpr std::array<int, 8> kHandledSignals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH};

std::string joined(const std::vector<std::string>& command) {
  std::string text;
  for (const auto& word : command) text += word + '\0';
  return text;
}

std::string shown(const std::string& command) {
  std::string text(command.c_str());
  for (size_t at = text.size() + 1; at < command.size(); at += std::strlen(command.c_str() + at) + 1) {
    text += std::string(" ") + (command.c_str() + at);
  }
  std::ranges::replace(text, '\n', ' ');
  constexpr size_t kShownMax = 80;
  return text.size() > kShownMax ? text.substr(0, kShownMax) + "..." : text;
}

void complain(const std::string& line) { fmt::print(stderr, "perdure: {}\n", line); }

/// The number of a process in its own PID namespace: the last of the line NSpid in /proc/PID/status.
Result<int> innermost_pid(pid_t pid) {
  const std::string status = TRY(read_file(fmt::format("/proc/{}/status", pid)));
  const size_t at = status.find("NSpid:");
  if (at == std::string::npos) return static_cast<int>(pid);
  const std::string line = status.substr(at, status.find('\n', at) - at);
  return std::atoi(line.c_str() + line.find_last_of(" \t") + 1);
}

/// A request that the control thread hands to the thread that takes checkpoints.
struct CheckpointRequest {
  std::string label;
  std::promise<Result<store::EpochNumber>> done;
};

class Supervisor {
 public:
  explicit Supervisor(const RunOptions& options) : options_(options) {}
  Result<int> run();

 private:
  Result<void> prepare_signals();
  Result<std::unique_ptr<store::Store>> open_store();
  Result<void> redirect_streams();
  Result<void> prepare_terminal(const std::optional<Fd>& file_system, unsigned number);
  Result<void> enter_namespaces(const std::optional<GroupClocks>& clocks, unsigned terminal_number);
  Result<void> attach_process();
  Result<void> start_program();
  Result<void> restore_program(store::Store& store);
  Result<void> restore_epoch(const store::View& view);
  Result<int> loop();
  bool rest();
  bool hear_from_init();
  bool init_died();
  void await_root_status();
  void end_attached();
  void forward_signal();
  void serve_requests();
  void refuse_requests();
  void take_checkpoint();
  Result<store::EpochNumber> checkpoint_now(const std::string& label);
  void note_failure(const Error& error);
  nlohmann::json handle(const nlohmann::json& request);
  nlohmann::json status_report();
  Result<void> record_end();

  const RunOptions& options_;
  std::string directory_;
  Fd signals_;
  uint64_t program_signal_mask_ = 0;
  Fd requests_ready_;
  std::mutex mutex_;
  std::deque<CheckpointRequest> requests_;
  bool closed_ = false;  ///< nobody serves requests any more
  bool kill_requested_ = false;
  bool detach_requested_ = false;
  bool detached_ = false;  ///< the program runs on without being persisted
  nlohmann::json report_;
  std::unique_ptr<GroupTerminal> terminal_;
  std::array<int, 3> streams_{0, 1, 2};  ///< what the program gets; borrowed
  std::optional<GroupInit> init_;                ///< absent when attached
  std::unique_ptr<AttachedGroup> attached_;
  std::unique_ptr<capture::Capturer> capturer_;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<ControlServer> control_;
  std::optional<posix::WakeWatch> watch_;
  int idle_periods_ = 0;
  int64_t last_pause_ns_ = 0;
  bool disk_behind_ = false;  ///< the last period passed without a checkpoint, since the writer had no room
  bool resume_ = false;
  int root_pid_ = 0;
  std::optional<int> root_status_;
  store::EpochNumber last_epoch_ = 0;
  store::EpochNumber resumed_epoch_ = 0;  ///< the epoch that this supervisor restored; 0: it started the program
  int64_t failing_since_ns_ = 0;
  std::string failure_;
  bool complained_ = false;
};

Result<void> Supervisor::prepare_signals() {
  sigset_t set;
  sigset_t old;
  sigemptyset(&set);
  for (const int signal : kHandledSignals) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, &old);
  std::memcpy(&program_signal_mask_, &old, sizeof program_signal_mask_);
  signals_ = Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  requests_ready_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!signals_ || !requests_ready_) return system_error("signalfd");
  return {};
}

Result<std::unique_ptr<store::Store>> Supervisor::open_store() {
  std::error_code error;
  const bool fresh_root = std::filesystem::create_directories(options_.root, error);
  if (error) return std::unexpected(Error{"create the store root " + options_.root, error.value()});
  if (fresh_root) std::filesystem::permissions(options_.root, std::filesystem::perms::owner_all, error);
  const store::Options store_options{.keep_epochs = options_.keep_epochs};
  if (!store::Store::exists(directory_)) {
    if (options_.restore_epoch) return failure(fmt::format("there is no group '{}' under {}", options_.name, options_.root));
    auto store = TRY(store::Store::create(directory_, store_options));
    TRY(store->set_property(kCommandProperty, joined(options_.command)));
    TRY(store->set_property(kStateProperty, kStateLive));
    return store;
  }
  auto opened = store::Store::open(directory_, store_options);
  if (!opened) return std::unexpected(explain_busy(std::move(opened).error(), options_.name));
  auto store = std::move(*opened);
  const auto state = TRY(store->property(kStateProperty));
  const auto command = TRY(store->property(kCommandProperty));
  // A program that never came to its first checkpoint (a mistyped name) leaves nothing to protect.
  if (store->last_epoch() == 0 && options_.restore_epoch) {
    return failure(fmt::format("group '{}' has no checkpoint to restore: it ended before its first was durable", options_.name));
  }
  if (store->last_epoch() == 0) {
    TRY(store->set_property(kCommandProperty, joined(options_.command)));
  } else if (!options_.restore_epoch && command && *command != joined(options_.command)) {
    return failure(fmt::format("group '{}' runs another command line ({}): choose another --name, or remove it with: perdure rm {}",
                               options_.name, shown(*command), options_.name));
  }
  resume_ = store->last_epoch() > 0 && (options_.restore_epoch.has_value() || !state || *state != kStateEnded);
  TRY(store->set_property(kStateProperty, kStateLive));
  return store;
}

Result<void> Supervisor::redirect_streams() {
  const std::string path = output_path(directory_);
  const Fd input(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Fd output(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!output) return system_error("open " + path);
  if (!input) return system_error("open /dev/null");
  const bool placed = dup2(input.get(), STDIN_FILENO) >= 0 && dup2(output.get(), STDOUT_FILENO) >= 0 && dup2(output.get(), STDERR_FILENO) >= 0;
  if (!placed) return system_error("redirect the standard streams");
  return {};
}

/// A program whose standard input is a terminal gets a pseudo terminal of its own in its place.
Result<void> Supervisor::prepare_terminal(const std::optional<Fd>& file_system, unsigned number) {
  terminal_.reset();
  streams_ = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
  if (!isatty(STDIN_FILENO)) return {};
  terminal_ = TRY(GroupTerminal::create(STDIN_FILENO, file_system, number));
  for (int& stream : streams_) {
    if (isatty(stream)) stream = terminal_->slave();
  }
  return {};
}

/// The group has a devpts instance of its own: a restore gives its pseudo terminals the numbers they had, whatever the machine has since.
Result<void> Supervisor::enter_namespaces(const std::optional<GroupClocks>& clocks, unsigned terminal_number) {
  init_.reset();
  const auto file_system = TRY(make_terminal_file_system());
  TRY(prepare_terminal(file_system, terminal_number));
  const int master = terminal_ ? terminal_->master() : -1;
  init_.emplace(TRY(GroupInit::launch({.clocks = clocks,
                                       .survive_supervisor = options_.survive_supervisor,
                                       .terminal_master = master,
                                       .terminal_file_system = file_system ? file_system->get() : -1})));
  capturer_ = TRY(capture::Capturer::create({.pid_namespace = init_->pid_namespace(),
                                             .init_pid = init_->init_pid(),
                                             .kill_with_supervisor = !options_.survive_supervisor,
                                             .sync_files = options_.sync_files,
                                             .audit = options_.audit,
                                             .disabled_kinds = options_.disabled_kinds,
                                             .standard_streams = streams_,
                                             .terminal_master = master}));
  return {};
}

Result<void> Supervisor::attach_process() {
  attached_ = TRY(AttachedGroup::gather(options_.name, options_.attach_pid));
  capturer_ = TRY(capture::Capturer::create({.cgroup_id = attached_->cgroup_id(),
                                             .init_pid = attached_->pid(),
                                             .kill_with_supervisor = false,
                                             .sync_files = options_.sync_files,
                                             .audit = options_.audit,
                                             .disabled_kinds = options_.disabled_kinds,
                                             .standard_streams = attached_->standard_streams()}));
  root_pid_ = TRY(innermost_pid(attached_->pid()));
  capturer_->set_root_pid(root_pid_);
  return {};
}

Result<void> Supervisor::start_program() {
  TRY(enter_namespaces({}, 0));
  const Fd here(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!here) return system_error("open the working directory");
  StartPlan plan;
  plan.arguments = options_.command;
  for (char** entry = environ; *entry != nullptr; ++entry) plan.environment.emplace_back(*entry);
  plan.user = options_.user;
  plan.signal_mask = program_signal_mask_;
  plan.working_directory = here.get();
  plan.take_terminal = terminal_ != nullptr;
  plan.standard_input = streams_[0];
  plan.standard_output = streams_[1];
  plan.standard_error = streams_[2];
  root_pid_ = TRY(init_->start(plan));
  capturer_->set_root_pid(root_pid_);
  return {};
}

Result<void> Supervisor::restore_epoch(const store::View& view) {
  TRY(view.verify());
  const auto tree = TRY(posix::ObjectTree::decode(view.objects()));
  const posix::Group& group = *TRY(tree.group());
  TRY(enter_namespaces(GroupClocks{group.monotonic_ns(), group.boottime_ns()}, posix::group_terminal_number(tree)));
  posix::RestoreContext context(tree, view, *init_, streams_);
  context.terminal_master = terminal_ ? terminal_->master() : -1;
  auto rebuilt = TRY(restore::RebuiltGroup::build(context));
  std::vector<capture::Capturer::RestoredProcess> processes;
  for (auto& [pid, process] : rebuilt.processes()) {
    if (!process->record->zombie()) processes.push_back({process->record->address_space(), process->host_pid, &process->leader});
  }
  capturer_->note_restored_inodes(context.made_inodes());
  TRY(capturer_->take_over(view, tree, processes));
  TRY(rebuilt.finish());
  capturer_->note_restored_inodes(context.made_inodes());
  root_pid_ = group.root_pid();
  capturer_->set_root_pid(root_pid_);
  return rebuilt.resume();
}

/// From the wanted epoch, or else from the newest that is whole.
Result<void> Supervisor::restore_program(store::Store& store) {
  const auto history = store.history();
  std::optional<Error> first_error;
  for (auto info = history.rbegin(); info != history.rend(); ++info) {
    if (options_.restore_epoch.value_or(0) != 0 && info->epoch != *options_.restore_epoch) continue;
    auto restored = [&]() -> Result<void> { return restore_epoch(*TRY(store.view(info->epoch))); }();
    if (restored) {
      resumed_epoch_ = info->epoch;
      if (first_error) complain(fmt::format("group '{}' was resumed from epoch {}, since a newer one is damaged", options_.name, info->epoch));
      return {};
    }
    complain(fmt::format("epoch {} cannot be restored: {}", info->epoch, restored.error().message()));
    if (!first_error) first_error = restored.error();
    constexpr int kBadFile = EBADMSG;
    if (restored.error().error_number != kBadFile) break;
  }
  if (first_error) return std::unexpected(*first_error);
  return failure(fmt::format("group '{}' has no epoch {}", options_.name, options_.restore_epoch.value_or(0)));
}

Result<int> Supervisor::run() {
  TRY(check_name(options_.name));
  directory_ = group_directory(options_.root, options_.name);
  TRY(prepare_signals());
  auto store = TRY(open_store());
  if (options_.detach) TRY(redirect_streams());
  AttachedGroup::sweep(options_.name);
  if (options_.attach_pid != 0) {
    TRY(attach_process());
  } else if (resume_) {
    TRY(restore_program(*store));
  } else {
    TRY(start_program());
  }
  // Without the watch, a resting group is looked at once a period.
  if (!init_) {
    // An attached group lies in no namespace of its own that could be watched.
  } else if (auto watch = posix::WakeWatch::create(static_cast<uint32_t>(init_->pid_namespace()))) watch_ = std::move(*watch);
  if (terminal_) terminal_->connect();
  writer_ = std::make_unique<Writer>(std::move(store), Writer::Limits{});
  last_epoch_ = writer_->status().durable;
  status_report();
  control_ = TRY(ControlServer::start(control_socket_path(directory_), [this](const auto& request) { return handle(request); }));
  const auto status = loop();
  refuse_requests();
  control_.reset();
  if (!status) return status;
  TRY(record_end());
  return status;
}

/// Sleeps the group? Then so do we, until one of its tasks wakes. True when the watch is set.
bool Supervisor::rest() {
  if (!watch_ || idle_periods_ < kIdlePeriodsBeforeRest) return false;
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
      if (detached_) TRY(capturer_->look());
      else if (disk_behind_ = !writer_->has_room(); !disk_behind_) take_checkpoint();
      else status_report();
      if (!capturer_->group_alive()) {
        await_root_status();
        if (!init_died()) break;
        return failure("the group's init was killed, and the group with it: run the same command to resume it");
      }
      if (writer_->status().audit_failed) return failure(kAuditFailed);
      // The program runs for at least as long as it was held up.
      const int64_t end_ns = monotonic_ns();
      next_ns = std::max(next_ns + options_.period_ns, end_ns + (end_ns - now_ns));
    }
    const bool resting = rest();
    std::array<pollfd, 4> wanted{{{init_ ? init_->socket() : attached_->pidfd(), POLLIN, 0},
                                  {signals_.get(), POLLIN, 0},
                                  {requests_ready_.get(), POLLIN, 0},
                                  {resting ? watch_->fd() : -1, POLLIN, 0}}};
    const timespec patience = to_timespec(std::max<int64_t>(next_ns - monotonic_ns(), 0));
    if (ppoll(wanted.data(), wanted.size(), resting ? nullptr : &patience, nullptr) < 0 && errno != EINTR) {
      return system_error("poll");
    }
    if (resting) {
      watch_->disarm();
      idle_periods_ = 0;
      next_ns = std::max(next_ns, monotonic_ns());
    }
    if (wanted[0].revents != 0) hear_from_init();
    if (wanted[1].revents != 0) forward_signal();
    if (wanted[2].revents != 0) serve_requests();
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
      }
    }
    // The program's end need not wait for the next period to be noticed.
    if (root_status_ && wanted[0].revents != 0 && init_) next_ns = monotonic_ns();
  }
  return root_status_.value_or(0);
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

void Supervisor::forward_signal() {
  signalfd_siginfo information{};
  while (::read(signals_.get(), &information, sizeof information) == sizeof information) {
    if (information.ssi_signo == SIGWINCH) {
      if (terminal_) terminal_->resize();
      continue;
    }
    const pid_t root = capturer_->host_pid_of(root_pid_);
    if (root > 0) ::kill(root, static_cast<int>(information.ssi_signo));
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
  if (*taken) {
    last_pause_ns_ = (*taken)->figures.pause_ns;
    last_epoch_ = writer_->submit(std::move(**taken), label);
  } else if (!label.empty() && capturer_->group_alive()) {
    last_epoch_ = writer_->submit({}, label);
  }
  return last_epoch_;
}

void Supervisor::take_checkpoint() {
  if (auto taken = checkpoint_now(""); !taken) note_failure(taken.error());
  status_report();
}

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

Result<void> Supervisor::record_end() {
  init_.reset();
  attached_.reset();
  terminal_.reset();
  if (!writer_->drain(kDurableTimeoutNs)) complain("the last checkpoints could not be written: " + writer_->status().error);
  const bool audit_failed = writer_->status().audit_failed;
  Result<void> recorded;
  writer_->with_store([&](store::Store& store) { recorded = store.set_property(kStateProperty, kStateEnded); });
  writer_.reset();
  if (audit_failed) return failure(kAuditFailed);
  return recorded;
}

}  // namespace

Result<int> run_group(const RunOptions& options) { return Supervisor(options).run(); }

}  // namespace perdure::supervisor
