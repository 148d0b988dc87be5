#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>

#include "capture/field_mutation.h"
#include "capture/mutation.h"
#include "cli/commands.h"
#include "cli/moment.h"
#include "linux/process.h"
#include "supervisor/attachable.h"
#include "supervisor/group_directory.h"

namespace perdure::cli {

namespace {

constexpr int kPidMax = 1 << 22;
constexpr uint64_t kEpochsMax = 1'000'000'000'000;

struct RunArguments {
  supervisor::RunOptions options;
  std::string period = "10ms";
  std::string user;
  std::string on_supervisor_exit = "kill";
  std::string on_crash = "end";
  std::string files = "sync";
  std::vector<std::string> disabled_kinds;
  std::string at;
};

Result<StartPlan::User> find_user(const std::string& name) {
  errno = 0;
  const passwd* entry = getpwnam(name.c_str());
  if (entry == nullptr) return failure(fmt::format("there is no user '{}'", name));
  StartPlan::User user{entry->pw_uid, entry->pw_gid, {}};
  int count = 256;
  user.groups.resize(static_cast<size_t>(count));
  if (getgrouplist(name.c_str(), entry->pw_gid, user.groups.data(), &count) < 0) return failure("the user has too many groups");
  user.groups.resize(static_cast<size_t>(count));
  return user;
}

/// What is wrong with a number of epochs to keep; empty: nothing. (The parser's own conversion takes signs, and numbers of any size.)
std::string judge_epochs(const std::string& text) {
  uint64_t count = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, count);
  if (error == std::errc() && end == last && count >= 1 && count <= kEpochsMax) return {};
  return fmt::format("'{}' is no number of epochs from 1 to {}", supervisor::abbreviated(text), kEpochsMax);
}

/// Ends this process as the program ended: with its exit status, or by its signal.
int pass_on(int wait_status) {
  if (WIFEXITED(wait_status)) return WEXITSTATUS(wait_status);
  const int signal_number = WTERMSIG(wait_status);
  prctl(PR_SET_DUMPABLE, 0);
  signal(signal_number, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal_number);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  raise(signal_number);
  return 128 + signal_number;
}

int run_here(const supervisor::RunOptions& options) {
  const auto status = supervisor::run_group(options);
  if (!status) return report(status.error(), kPerdureFailed);
  return pass_on(*status);
}

int run(RunArguments& arguments) {
  auto& options = arguments.options;
  options.root = supervisor::store_root(options.root);
  const auto period = parse_duration_ns(arguments.period);
  if (!period) return report(period.error(), kUsageError);
  options.period_ns = *period;
  options.sync_files = arguments.files == "sync";
  options.survive_supervisor = arguments.on_supervisor_exit == "continue";
  if (options.lazy && options.survive_supervisor) {
    return report(Error{"--lazy needs the supervisor to live: not with --on-supervisor-exit continue"}, kUsageError);
  }
  options.resume_crashed = arguments.on_crash == "resume";
  options.disabled_kinds = {arguments.disabled_kinds.begin(), arguments.disabled_kinds.end()};
  if (!arguments.user.empty()) {
    auto user = find_user(arguments.user);
    if (!user) return report(user.error(), kPerdureFailed);
    options.user = *user;
  }
  if (options.command.front().empty()) return report(Error{"the program's name is empty"}, kUsageError);
  const bool derived = options.name.empty();
  if (derived) options.name = std::filesystem::path(options.command.front()).filename();
  if (const auto named = supervisor::check_name(options.name); !named) {
    return report(derived ? Error(named.error()).in("--name is needed") : named.error(), kUsageError);
  }
  if (derived) fmt::print(stderr, "perdure: group '{}'\n", options.name);
  if (geteuid() != 0) return report(Error{"only root can persist programs: run it with sudo (perdure doctor says what is needed)"}, kPerdureFailed);
  return options.detach ? run_in_background(options, run_here) : run_here(options);
}

/// The epoch is looked up first, so that a wrong one is told before anything is touched.
int bring_back(RunArguments& arguments) {
  auto& options = arguments.options;
  const auto epoch = [&]() -> Result<store::EpochInfo> {
    const auto store = TRY(open_group_store(options.root, options.name));
    return find_epoch(*store, options.name, arguments.at);
  }();
  if (!epoch) return report(epoch.error(), kPerdureFailed);
  options.restore_epoch = arguments.at.empty() ? 0 : epoch->epoch;
  if (names_moment(arguments.at)) fmt::print(stderr, "perdure: epoch {}, taken at {}\n", epoch->epoch, clock_time(epoch->realtime_ns));
  options.command = {options.name};
  return run(arguments);
}

void add_common(CLI::App& command, RunArguments& arguments) {
  command.add_option("--store", arguments.options.root, "store root (default: $PERDURE_STORE, else /var/lib/perdure)");
  command.add_option("--period", arguments.period, "time between checkpoints, e.g. 10ms")->capture_default_str();
  command.add_option("--keep", arguments.options.keep_epochs, "history: how many of the latest epochs are kept")
      ->check(CLI::Validator(judge_epochs, ""))
      ->capture_default_str();
  command.add_option("--files", arguments.files,
                     "files outside that the program has open for writing: sync them before each checkpoint, so that a power cut takes nothing "
                     "that it speaks of, or leave that to the program and the kernel")
      ->check(CLI::IsMember({"sync", "none"}))
      ->capture_default_str();
  command.add_flag("--audit", arguments.options.audit, "compare every checkpoint with the stopped group, page by page and object by object");
  command.add_flag("--strict", arguments.options.strict, "end the program when it cannot be persisted");
  command.add_flag("--detach", arguments.options.detach,
                   "run in the background: return when the first checkpoint is durable; output goes to the file 'output' in the group's directory");
  command.add_option("--mutate", arguments.disabled_kinds, "leave out the capture of a kind, or of a field of the records (to prove the tests)")
      ->allow_extra_args(false)
      ->check(CLI::IsMember(capture::known_mutations()) | CLI::IsMember(capture::record_fields()))
      ->group("");
}

/// Not for `attach`: a process that Perdure did not start is not Perdure's to kill, and how it ended is its parent's to know.
void add_fates(CLI::App& command, RunArguments& arguments) {
  command.add_option("--on-supervisor-exit", arguments.on_supervisor_exit, "what becomes of the program when perdure dies")
      ->check(CLI::IsMember({"kill", "continue"}))
      ->capture_default_str();
  command.add_flag("--lazy", arguments.options.lazy,
                   "let a program that is resumed run before all of its memory is there: what it touches comes at once, the rest in the background; "
                   "not with --on-supervisor-exit continue");
  command.add_option("--on-crash", arguments.on_crash,
                     "what becomes of the group when a signal ends the program that nobody sent to end it, e.g. SIGSEGV: it goes on from its newest "
                     "checkpoint, at most 5 times in a row, or has ended")
      ->check(CLI::IsMember({"resume", "end"}))
      ->capture_default_str();
}

/// What cannot be attached to is told before there is a group of that name.
Result<void> prepare_attach(supervisor::RunOptions& options) {
  TRY(supervisor::check_attachable(options.attach_pid));
  options.command = {"attach", std::to_string(options.attach_pid)};
  if (!options.name.empty()) return {};
  const std::string name = TRY(read_file("/proc/" + options.command.back() + "/comm"));
  options.name = name.substr(0, name.find('\n'));
  fmt::print(stderr, "perdure: group '{}'\n", options.name);
  return {};
}

}  // namespace

void add_run(CLI::App& app, int& status) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* command = app.add_subcommand("run", "run a program and make it persistent; the same command resumes it after a crash");
  command->add_option("--name", arguments->options.name, "name of the group (default: the program's)");
  command->add_option("--user", arguments->user, "run the program as this user");
  add_common(*command, *arguments);
  add_fates(*command, *arguments);
  command->add_option("program", arguments->options.command, "the program and its arguments")->required();
  command->positionals_at_end();
  command->callback([arguments, &status] { status = run(*arguments); });

  auto restored = std::make_shared<RunArguments>();
  CLI::App* restore = app.add_subcommand("restore", "bring a group back from its store");
  restore->add_option("name", restored->options.name, "name of the group")->required();
  restore->add_option("--at", restored->at, "epoch, label or time to restore: a number, a label, '2026-11-21 14:03:05', 14:03:05 (today), -30s, -5m or -2h (default: the newest epoch)");
  add_common(*restore, *restored);
  add_fates(*restore, *restored);
  restore->callback([restored, &status] { status = bring_back(*restored); });
}

void add_attach(CLI::App& app, int& status) {
  auto attached = std::make_shared<RunArguments>();
  CLI::App* attach = app.add_subcommand("attach", "persist a running process and its descendants, for as long as this command runs");
  attach->add_option("pid", attached->options.attach_pid, "the process")->required()->check(CLI::Range(1, kPidMax));
  attach->add_option("--name", attached->options.name, "name of the group (default: the process's)");
  add_common(*attach, *attached);
  attach->callback([attached, &status] {
    const auto prepared = prepare_attach(attached->options);
    status = prepared ? run(*attached) : report(prepared.error(), kPerdureFailed);
  });
}

double nanoseconds_of(const std::string& text, double plain_ns) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc()) return kNone;
  const std::string unit(end, text.data() + text.size());
  const std::map<std::string, double> scales{{"", plain_ns}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
  const auto scale = scales.find(unit);
  return scale == scales.end() ? kNone : value * scale->second;
}

Result<int64_t> parse_duration_ns(const std::string& text) {
  constexpr double kLongestNs = 24 * 3600e9;
  const double duration_ns = nanoseconds_of(text, 1e6);
  if (duration_ns >= 1 && duration_ns <= kLongestNs) return static_cast<int64_t>(duration_ns);
  return failure(fmt::format("'{}' is no duration up to a day: write for example 10ms, 250us or 1s", supervisor::abbreviated(text)));
}

}  // namespace perdure::cli
