// How a group comes under a supervisor: its store, and the program started, attached to, or restored.
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "linux/process.h"
#include "linux/pseudo_terminal.h"
#include "posix/blocked_syscall.h"
#include "restore/restore.h"
#include "supervisor/group_directory.h"
#include "supervisor/internal.h"
#include "supervisor/survivor.h"

extern char** environ;

namespace perdure::supervisor {

namespace {

/// Whatever somebody may send to a program in the foreground. The others tell of the supervisor itself: a fault of its own, its children, its use of a
/// terminal in the background, and SIGRTMAX, which ends a seize that lasts too long (linux/seize_patience.h).
sigset_t forwarded_signals() {
  sigset_t set;
  sigfillset(&set);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGPIPE, SIGCHLD, SIGTTIN, SIGTTOU, SIGRTMAX}) sigdelset(&set, own);
  return set;
}

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
  return abbreviated(text);
}

/// The number of a process in its own PID namespace: the last of the line NSpid in /proc/PID/status.
Result<int> innermost_pid(pid_t pid) {
  const std::string status = TRY(read_file(fmt::format("/proc/{}/status", pid)));
  const size_t at = status.find("NSpid:");
  if (at == std::string::npos) return static_cast<int>(pid);
  const std::string line = status.substr(at, status.find('\n', at) - at);
  return std::atoi(line.c_str() + line.find_last_of(" \t") + 1);
}

/// All that a restore needs of an epoch.
struct WholeEpoch {
  std::unique_ptr<store::View> view;
  posix::ObjectTree tree;
};

/// Private memory is checked when it is filled in; files of before are not touched for an epoch that is damaged.
Result<WholeEpoch> read_epoch(const store::Store& store, store::EpochNumber epoch) {
  auto view = TRY(store.view(epoch));
  auto tree = TRY(posix::ObjectTree::decode(view->objects()));
  auto unchecked = view->spaces();
  for (const auto& [id, object] : tree.objects()) {
    if (object.has_process()) std::erase(unchecked, object.process().address_space());
  }
  TRY(view->verify(unchecked));
  return WholeEpoch{std::move(view), std::move(tree)};
}

/// What a crash leaves of a group for a moment has no program to go on with.
bool root_lives(const posix::ObjectTree& tree) {
  const auto group = tree.group();
  return group && std::ranges::any_of(tree.objects(), [&](const auto& entry) {
    const posix::Object& object = entry.second;
    return object.has_process() && object.process().pid() == (*group)->root_pid() && !object.process().zombie();
  });
}

/// Whether sleepers wait with a timeout that is to be kept for them, which is to be known before they run.
bool imposes_deadlines(const posix::ObjectTree& tree) {
  return std::ranges::any_of(tree.objects(), [](const auto& entry) {
    const posix::Object& object = entry.second;
    return object.has_thread() && object.thread().has_blocked() && object.thread().blocked().remaining_ns() >= 0 && posix::has_socket_timeout(object.thread());
  });
}

/// The next checkpoint holds what changes from here on, which is not what has changed since the last one.
Result<void> go_back_to(store::Store& store, store::EpochNumber epoch) {
  if (epoch == store.last_epoch()) return {};
  store::EpochInfo info{.epoch = store.last_epoch() + 1, .realtime_ns = realtime_ns()};
  info.attributes = encode_figures({});
  TRY(store.append(info, TRY(store.changes_back_to(epoch))));
  return {};
}

/// A damaged property costs no more than what it said.
std::optional<std::string> property_of(const store::Store& store, const char* name, const char* consequence) {
  auto value = store.property(name);
  if (value) return std::move(*value);
  complain(fmt::format("{}: {}", value.error().message(), consequence));
  return std::nullopt;
}

/// Leaves nothing behind where it fails: a group that was never there needs no removing.
Result<std::unique_ptr<store::Store>> make_store(const std::string& directory, const store::Options& options, const std::string& command) {
  const bool fresh = !std::filesystem::exists(directory);
  auto store = store::Store::create(directory, options);
  const bool others = !store && (store.error().error_number == EBUSY || store.error().error_number == EEXIST);
  if (others) return store;
  const auto named = store ? (*store)->set_property(kCommandProperty, command) : std::unexpected(store.error());
  if (named) return store;
  store = std::unexpected(named.error());
  if (fresh) discard_unfinished(directory);
  return store;
}

}  // namespace

Result<void> Supervisor::prepare_signals() {
  const sigset_t set = forwarded_signals();
  sigset_t old;
  sigprocmask(SIG_BLOCK, &set, &old);
  std::memcpy(&program_signal_mask_, &old, sizeof program_signal_mask_);
  signals_ = Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  requests_ready_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!signals_ || !requests_ready_) return system_error("signalfd");
  return {};
}

Result<std::unique_ptr<store::Store>> Supervisor::open_store() {
  if (comeback_) {
    resume_ = true;
    return std::move(comeback_->store);
  }
  std::error_code error;
  const bool fresh_root = std::filesystem::create_directories(options_.root, error);
  if (error) return std::unexpected(Error{"create the store root " + options_.root, error.value()});
  if (fresh_root) std::filesystem::permissions(options_.root, std::filesystem::perms::owner_all, error);
  const store::Options store_options{.keep_epochs = options_.keep_epochs};
  if (!store::Store::exists(directory_)) {
    if (options_.restore_epoch) return std::unexpected(no_group(options_.root, options_.name));
    auto made = make_store(directory_, store_options, joined(options_.command));
    // If it exists by now, another first run was quicker.
    if (made) return made;
    if (made.error().error_number != EEXIST) return std::unexpected(explain_busy(std::move(made).error(), options_.name));
  }
  auto opened = store::Store::open(directory_, store_options);
  if (!opened) return std::unexpected(explain_busy(std::move(opened).error(), options_.name));
  auto store = std::move(*opened);
  if (const auto survivor = find_survivor(*store)) {
    return failure(fmt::format("group '{0}' runs on, unpersisted, since its supervisor died (its init is process {1}): end it by perdure kill {0}",
                               options_.name, survivor->init_pid));
  }
  for (const std::string& notice : store->notices()) complain(fmt::format("group '{}': {}", options_.name, notice));
  const auto state = property_of(*store, kStateProperty, "the group is taken to have crashed");
  if (store->last_epoch() == 0 && options_.restore_epoch) {
    return failure(fmt::format("group '{}' has no checkpoint to restore: it ended before its first was durable", options_.name));
  }
  if (!options_.restore_epoch) TRY(settle_command(*store));
  resume_ = store->last_epoch() > 0 && (options_.restore_epoch.has_value() || !state || *state != kStateEnded);
  return store;
}

Result<void> Supervisor::settle_command(store::Store& store) {
  const auto command = property_of(store, kCommandProperty, "the command line given now takes its place");
  // A program that never came to its first checkpoint (a mistyped name) leaves nothing to protect.
  if (store.last_epoch() == 0 || !command) return store.set_property(kCommandProperty, joined(options_.command));
  if (*command == joined(options_.command)) return {};
  return failure(fmt::format("group '{}' runs another command line ({}): choose another --name, or remove it with: perdure rm {}",
                             options_.name, shown(*command), options_.name));
}

Result<void> Supervisor::redirect_streams() {
  const std::string path = output_path(directory_);
  const Fd input(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Fd output(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!output) return system_error("open " + path);
  if (!input) return system_error("open /dev/null");
  // So that there is room to say that the disk is full.
  (void)::fallocate(output.get(), FALLOC_FL_KEEP_SIZE, std::max<off_t>(::lseek(output.get(), 0, SEEK_END), 0), kPageSize);
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

/// The one that was begun with, or another one where that is used up.
Result<posix::Collector> Supervisor::take_collector() { return collector_.valid() ? collector_.get() : posix::Collector::create(); }

/// The group has a devpts instance of its own: a restore gives its pseudo terminals the numbers they had, whatever the machine has since.
Result<void> Supervisor::enter_namespaces(store::Store& store, const std::optional<GroupClocks>& clocks, unsigned terminal_number) {
  init_.reset();
  const auto file_system = TRY(make_terminal_file_system());
  TRY(prepare_terminal(file_system, terminal_number));
  const int master = terminal_ ? terminal_->master() : -1;
  init_.emplace(TRY(GroupInit::launch({.name = options_.name,
                                       .clocks = clocks,
                                       .survive_supervisor = options_.survive_supervisor,
                                       .terminal_master = master,
                                       .terminal_file_system = file_system ? file_system->get() : -1})));
  if (options_.survive_supervisor) TRY(remember_init(store, init_->init_pid()));
  return {};
}

/// Of the group in the namespaces that were entered.
Result<void> Supervisor::begin_capture() {
  capturer_ = TRY(capture::Capturer::create({.pid_namespace = init_->pid_namespace(),
                                             .init_pid = init_->init_pid(),
                                             .kill_with_supervisor = !options_.survive_supervisor,
                                             .sync_files = options_.sync_files,
                                             .audit = options_.audit,
                                             .disabled_kinds = options_.disabled_kinds,
                                             .standard_streams = streams_,
                                             .terminal_master = terminal_ ? terminal_->master() : -1},
                                            TRY(take_collector())));
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
                                             .standard_streams = attached_->standard_streams()},
                                            TRY(take_collector())));
  root_pid_ = TRY(innermost_pid(attached_->pid()));
  capturer_->set_root_pid(root_pid_);
  return {};
}

/// A group without a checkpoint that was made for nothing would be shown as one to go on with.
Result<void> Supervisor::attach_or_leave_nothing(const store::Store& store) {
  auto attached = attach_process();
  std::error_code ignored;
  if (!attached && store.last_epoch() == 0) std::filesystem::remove_all(directory_, ignored);
  return attached;
}

Result<void> Supervisor::start_program(store::Store& store) {
  TRY(enter_namespaces(store, {}, 0));
  TRY(begin_capture());
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

/// `damage`: what the epoch lacks, where it cannot be restored for that.
Result<void> Supervisor::restore_epoch(store::Store& store, std::unique_ptr<store::View> owned_view, posix::ObjectTree owned_tree,
                                       std::optional<Error>& damage) {
  const store::View& view = *owned_view;
  const posix::ObjectTree& tree = owned_tree;
  const posix::Group& group = *TRY(tree.group());
  TRY(enter_namespaces(store, GroupClocks{group.monotonic_ns(), group.boottime_ns()}, posix::group_terminal_number(tree)));
  posix::RestoreContext context(tree, view, *init_, streams_);
  context.terminal_master = terminal_ ? terminal_->master() : -1;
  auto fill = options_.lazy && !imposes_deadlines(tree) ? TRY(memory::LazyFill::create(view)) : nullptr;
  auto built = restore::RebuiltGroup::build(context, fill.get());
  damage = context.damage;
  auto rebuilt = TRY(std::move(built));
  root_pid_ = group.root_pid();
  if (fill) {
    TRY(rebuilt.finish());
    TRY(go_back_to(store, view.info().epoch));
    TRY(rebuilt.resume());
    fill->fill_rest();
    lazy_.emplace(std::move(owned_view), std::move(owned_tree), std::move(fill));
    TRY(begin_capture());
    capturer_->note_restored_inodes(context.made_inodes());
    capturer_->set_root_pid(root_pid_);
    return {};
  }
  TRY(begin_capture());
  std::vector<capture::Capturer::RestoredProcess> processes;
  for (auto& [pid, process] : rebuilt.processes()) {
    if (!process->record->zombie()) processes.push_back({process->record->address_space(), process->host_pid, &process->leader});
  }
  capturer_->note_restored_inodes(context.made_inodes());
  TRY(capturer_->take_over(view, tree, processes, TRY(context.elapsed_ns())));
  TRY(rebuilt.finish());
  TRY(go_back_to(store, view.info().epoch));
  capturer_->note_restored_inodes(context.made_inodes());
  capturer_->set_root_pid(root_pid_);
  return rebuilt.resume();
}

/// Any, or the one that was asked for, or after a crash those that led to it.
bool Supervisor::may_restore(store::EpochNumber epoch) const {
  if (comeback_) return epoch <= comeback_->last_epoch && comeback_->lineage.contains(epoch);
  const store::EpochNumber wanted = options_.restore_epoch.value_or(0);
  return wanted == 0 || epoch == wanted;
}

/// From the newest that is whole of those that may be.
Result<void> Supervisor::restore_program(store::Store& store) {
  const auto history = store.history();
  std::optional<Error> damage;
  for (auto info = history.rbegin(); info != history.rend(); ++info) {
    if (!may_restore(info->epoch)) continue;
    auto epoch = read_epoch(store, info->epoch);
    if (!epoch) {
      if (!damage) damage = std::move(epoch.error()).in(fmt::format("epoch {} is damaged", info->epoch));
      continue;
    }
    if (comeback_ && !root_lives(epoch->tree)) continue;
    std::optional<Error> met;
    auto restored = restore_epoch(store, std::move(epoch->view), std::move(epoch->tree), met);
    if (met) {
      if (!damage) damage = std::move(*met).in(fmt::format("epoch {} is damaged", info->epoch));
      continue;
    }
    if (!restored) return std::unexpected(std::move(restored.error()).in(fmt::format("epoch {} cannot be restored", info->epoch)));
    resumed_epoch_ = info->epoch;
    if (damage) complain(fmt::format("{}; group '{}' was resumed from epoch {}", damage->message(), options_.name, info->epoch));
    else if (!store.notices().empty()) complain(fmt::format("group '{}' was resumed from epoch {}", options_.name, info->epoch));
    return {};
  }
  if (damage) return std::unexpected(*damage);
  if (comeback_) return failure("no checkpoint of before is left");
  return failure(fmt::format("group '{}' has no epoch {}", options_.name, options_.restore_epoch.value_or(0)));
}

/// Restores the program or starts it; none of this for one that was attached to.
Result<void> Supervisor::begin_life(store::Store& store) {
  if (!resume_) {
    lineage_.begin(store.last_epoch() + 1);
    return start_program(store);
  }
  if (comeback_) return come_back(store);
  TRY(restore_program(store));
  lineage_.begin(store.last_epoch());
  return {};
}

}  // namespace perdure::supervisor
