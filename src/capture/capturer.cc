#include "capture/capturer.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "capture/internal.h"
#include "capture/mutation.h"
#include "linux/group_init.h"
#include "linux/process.h"
#include "linux/remote.h"
#include "posix/vdso.h"

namespace perdure::capture {

namespace {

constexpr int kAttempts = 5;  // at a checkpoint, before it is left to the next epoch

}  // namespace

Capturer::Capturer(Options options, posix::Collector collector, SeizePatience patience)
    : options_(std::move(options)),
      collector_(std::move(collector)),
      identities_(options_.first_object),
      patience_(std::move(patience)) {}
Capturer::~Capturer() = default;

Result<std::unique_ptr<Capturer>> Capturer::create(Options options, posix::Collector collector) {
  if (options.cgroup_id != 0) TRY(collector.select_cgroup(options.cgroup_id));
  else TRY(collector.select_pid_namespace(static_cast<uint32_t>(options.pid_namespace)));
  auto patience = TRY(SeizePatience::create());
  std::unique_ptr<Capturer> capturer(new Capturer(std::move(options), std::move(collector), std::move(patience)));
  capturer->fork_watch_ = TRY(memory::ForkWatch::create());
  capturer->page_reader_ = memory::PageReader::create();
  capturer->vdso_syscall_offset_ = TRY(find_vdso_syscall_offset());
  capturer->vdso_hash_ = TRY(posix::vdso_hash());
  const ClockOffsets offsets = TRY(clock_offsets(capturer->options_.init_pid));
  capturer->own_clock_offsets_ = TRY(clock_offsets(getpid()));
  capturer->monotonic_offset_ns_ = offsets.monotonic_ns;
  capturer->boottime_offset_ns_ = offsets.boottime_ns;
  if (capturer->options_.cgroup_id == 0) capturer->mounts_ = TRY(MountWatch::open(capturer->options_.init_pid));
  TRY(enter_ipc_namespace(capturer->options_.init_pid));
  const auto own = TRY(capturer->collector_.files(getpid()));
  for (const posix::FileRecord* file : own.files) {
    for (size_t number = 0; number < 3; ++number) {
      if (file->descriptor != capturer->options_.standard_streams[number]) continue;
      capturer->standard_streams_[number] = file->file;
      if (capturer->options_.terminal_master >= 0 && number == 0) capturer->terminal_device_ = file->special_device;
    }
  }
  return capturer;
}

bool Capturer::unchanged(const std::vector<posix::ThreadBrief>& threads) const {
  return std::ranges::equal(threads, last_threads_, [](const posix::ThreadBrief& now, const posix::ThreadBrief& then) {
    if (is_scaffold(now)) return now.task == then.task;
    return now.task == then.task && now.state != 0 && now.runnable == 0 && now.nvcsw == then.nvcsw && now.nivcsw == then.nivcsw &&
           now.state == then.state && now.exit_state == then.exit_state && now.start_boottime_ns == then.start_boottime_ns;
  });
}

pid_t Capturer::host_pid_of(int pid) const {
  for (const posix::ThreadBrief& thread : present_) {
    if (static_cast<int>(thread.tid) == pid && !is_dead(thread)) return static_cast<pid_t>(thread.host_tid);
  }
  return 0;
}

/// A process whose parent lies outside of the namespaces was brought in by `perdure exec`: it and what it starts run beside the group,
/// until init inherits them.
Result<void> Capturer::find_foreign(const std::vector<posix::ThreadBrief>& threads) {
  if (options_.cgroup_id != 0) return {};
  std::set<uint64_t> present;
  for (const auto& thread : threads) present.insert(thread.signal);
  if (std::ranges::includes(known_, present) && foreign_.empty()) {
    known_ = std::move(present);
    return {};
  }
  const auto table = TRY(collector_.tasks());
  std::map<uint32_t, const posix::ProcessRecord*> by_pid;
  for (const posix::ProcessRecord* process : table.processes) by_pid[process->tgid] = process;
  foreign_.clear();
  for (const posix::ProcessRecord* process : table.processes) {
    const posix::ProcessRecord* ancestor = process;
    for (size_t depth = 0; depth < by_pid.size() && ancestor->parent_tgid != 0 && by_pid.contains(ancestor->parent_tgid); ++depth) {
      ancestor = by_pid.at(ancestor->parent_tgid);
    }
    if (ancestor->parent_tgid == 0 && ancestor->tgid != kInitPid) foreign_.insert(process->signal);
  }
  known_ = std::move(present);
  return {};
}

/// The threads that are there now, without those that only visit.
Result<std::vector<posix::ThreadBrief>> Capturer::present_threads() {
  auto threads = TRY(collector_.tasks_brief());
  TRY(find_foreign(threads));
  remove_foreign(threads, foreign_, [](const auto& thread) { return thread.signal; });
  return threads;
}

Result<void> Capturer::look() {
  present_ = TRY(present_threads());
  group_alive_ = std::ranges::any_of(present_, [](const auto& thread) { return !is_scaffold(thread); });
  return {};
}

bool Capturer::init_alive() const { return std::ranges::any_of(present_, is_live_init); }

Result<bool> Capturer::idle() {
  // A process waits to be buried by whoever waits for one of these.
  if (!exited_.empty()) return false;
  return unchanged(TRY(present_threads()));
}

Result<posix::WakeWatch> Capturer::watch_wakes() const {
  if (options_.cgroup_id != 0) return posix::WakeWatch::of_cgroup(options_.cgroup_id, collector_.cgroup_level());
  return posix::WakeWatch::of_pid_namespace(static_cast<uint32_t>(options_.pid_namespace));
}

/// To interrupt a sleeper is not for free: that is for those which keep waking, and, from the second attempt on, for those which woke. One in
/// the midst of a transfer, which would be cut short, is left alone for longer.
void Capturer::choose_restless(int attempt) {
  constexpr int kChronic = 6;
  constexpr int kCrowded = 3;
  restless_.clear();
  settled_.clear();
  crowd_is_restless_ = attempt >= kCrowded;
  transfers_are_restless_ = attempt >= kAttempts - 1;
  if (crowd_is_restless_) {
    for (const auto& thread : last_threads_) settled_.emplace(thread.task, thread.nvcsw, thread.nivcsw);
  }
  for (const auto& [task, expected] : restlessness_) {
    if (attempt >= 2 || expected >= kChronic) restless_.insert(task);
  }
}

/// Of many short sleeps there is always one that ends.
bool Capturer::is_restless(const posix::ThreadBrief& sleeper) const {
  if (overdue_.contains(sleeper.task)) return true;
  if (sleeper.file_wait == posix::kDelicateWait && !transfers_are_restless_) return false;
  if (restless_.contains(sleeper.task)) return true;
  return crowd_is_restless_ && !settled_.contains({sleeper.task, sleeper.nvcsw, sleeper.nivcsw});
}

/// A sleeper that wakes spoils an attempt.
Result<std::optional<Checkpoint>> Capturer::capture() {
  for (auto& [task, expected] : restlessness_) --expected;
  std::erase_if(restlessness_, [](const auto& entry) { return entry.second <= 0; });
  for (int number = 1;; ++number) {
    choose_restless(number);
    auto taken = attempt();
    if (taken || taken.error().retry != Retry::at_once || number == kAttempts) return taken;
  }
}

void Capturer::expect_to_wake(std::span<const uint64_t> tasks) {
  constexpr int kExpectation = 3;
  constexpr int kExpectationMax = 9;
  for (const uint64_t task : tasks) restlessness_[task] = std::min(restlessness_[task] + kExpectation, kExpectationMax);
}

StoppedGroup::Options Capturer::stop_options() {
  return {.restless = [this](const auto& sleeper) { return is_restless(sleeper); },
          .foreign = foreign_,
          .kill_with_supervisor = options_.kill_with_supervisor,
          .exited = &exited_,
          .patience = &patience_,
          .sleeps = &sleeps_};
}

Result<std::optional<Checkpoint>> Capturer::attempt() {
  exited_ = detach_all(std::move(exited_));
  TRY(look());
  overdue_ = sleeps_.overdue(present_, monotonic_ns());
  if (!group_alive_ || (unchanged(present_) && overdue_.empty())) {
    page_reader_->reserve(0);
    return std::optional<Checkpoint>{};
  }
  TRY(track_newcomers());
  reserve_pages();
  copy_ahead();

  Checkpoint checkpoint;
  Figures& figures = checkpoint.figures;
  PausedState state;
  std::vector<posix::ThreadBrief> stopped_threads;
  identities_.begin();
  attempt_ = ++attempts_;
  outside_files_.begin(realtime_ns());
  const int64_t begin_ns = monotonic_ns();
  int64_t read_ns = 0;
  Result<void> read;
  {
    auto group = TRY(StoppedGroup::stop(collector_, stop_options()));
    figures.stop_ns = monotonic_ns() - begin_ns;
    read = read_stopped(group, state, checkpoint);
    stopped_threads = group.threads();
    read_ns = monotonic_ns();
  }
  const int64_t end_ns = monotonic_ns();
  figures.resume_ns = end_ns - read_ns;
  figures.pause_ns = end_ns - begin_ns;
  checkpoint.pause_end_ns = end_ns;
  keep_pages(state);
  TRY(std::move(read));
  for (const auto& [mm, presence] : state.presence) settle_pages(*spaces_.at(mm), presence);
  if (!options_.audit) TRY(build_records(state));
  diff_records(state);
  drop_unmet_inodes();
  identities_.end();
  outside_files_.end();
  checkpoint.to_sync = outside_files_.take();
  last_threads_ = std::move(stopped_threads);
  sleeps_.keep_only(last_threads_);
  for (const auto& thread : last_threads_) figures.thread_count += is_scaffold(thread) ? 0 : 1;
  figures.dirty_pages = pending_.page_count();
  checkpoint.changes = std::exchange(pending_, {});
  return checkpoint;
}

/// All that is to be read while the group stands still. What was read of a thread that woke is nothing, an error neither: it may be gone by now.
Result<void> Capturer::read_stopped(StoppedGroup& group, PausedState& state, Checkpoint& checkpoint) {
  auto read = read_paused(group, state, checkpoint.figures);
  if (read && options_.audit) {
    auto audited = audit(group, state);
    if (audited) checkpoint.audit = std::move(*audited);
    else read = std::unexpected(std::move(audited.error()));
  }
  was_disturbed_ = true;
  const auto disturbed = TRY(group.disturbed());
  was_disturbed_ = !disturbed.empty();
  if (disturbed.empty()) return read;
  expect_to_wake(disturbed);
  if (read) return passing_failure("a sleeping thread woke while its state was being read", Retry::at_once);
  read.error().retry = Retry::at_once;
  return read;
}

Result<void> Capturer::read_paused(StoppedGroup& group, PausedState& state, Figures& figures) {
  state.now_ns = monotonic_ns();
  state.boottime_ns = clock_ns(CLOCK_BOOTTIME);
  collector_.set_moment(state.now_ns - own_clock_offsets_.monotonic_ns);
  TRY(prepare_spaces(group, state));
  // A group that cannot be persisted is not copied over and over.
  const bool at_once = !std::exchange(cannot_be_read_, true);
  if (at_once) begin_reading_pages(state);
  const auto objects = read_objects(state);
  const int64_t read_ns = monotonic_ns();
  figures.objects_ns = read_ns - state.now_ns;
  if (!at_once) {
    if (!objects) return objects;
    begin_reading_pages(state);
  }
  const auto pages = finish_reading_pages(state, figures);
  if (!objects || !pages) return objects ? pages : objects;
  TRY(check_direct_files(state));
  TRY(take_memory_inodes(state));
  figures.copy_ns = monotonic_ns() - read_ns;
  cannot_be_read_ = false;
  return {};
}

Result<void> Capturer::prepare_spaces(StoppedGroup& group, PausedState& state) {
  TRY(take_segments(state));
  return track_spaces(group, state);
}

/// After the tracking was set up, which drives threads: what is read now is what they go on with.
Result<void> Capturer::read_objects(PausedState& state) {
  state.tasks = TRY(group_tasks());
  TRY(refuse_what_cannot_be_saved(state.tasks));
  TRY(read_calls(state));
  state.message_queue_names = TRY(list_message_queues());
  TRY(read_directories(state));
  TRY(read_files(state));
  TRY(read_ipc(state));
  read_terminal(*state.records[posix::kGroupObject].mutable_group(), state);
  return {};
}

namespace {

/// How many signals wait for each process and thread: timers go on while the group stands still.
std::map<posix::ObjectId, int> pending_signals(const ObjectRecords& records) {
  std::map<posix::ObjectId, int> counts;
  for (const auto& [id, object] : records) {
    if (object.has_process()) counts[id] = object.process().pending_size();
    if (object.has_thread()) counts[id] = object.thread().pending_size();
  }
  return counts;
}

/// Whether timers of descriptors have expired between two readings: they go on, too. What the first one kept is not in its records.
bool has_expired(const ObjectRecords& first, const ObjectRecords& second) {
  return std::ranges::any_of(second, [&](const auto& entry) {
    const auto before = first.find(entry.first);
    if (before == first.end() || !entry.second.open_file().has_timerfd() || !before->second.open_file().has_timerfd()) return false;
    const auto& now = entry.second.open_file().timerfd();
    const auto& then = before->second.open_file().timerfd();
    return now.unread_ticks() != then.unread_ticks() || now.armed() != then.armed();
  });
}

}  // namespace

/// Reads the group a second time, as if nothing were known of it, and builds its records as they should be.
Result<std::shared_ptr<const Audit>> Capturer::audit(StoppedGroup& group, PausedState& state) {
  TRY(build_records(state));
  auto audit = std::make_shared<Audit>();
  forget_known();
  // What is kept by them goes on being kept, for the audits to come to tell whether it is right.
  const auto known_files = known_files_;
  auto known_tables = std::exchange(known_tables_, {});
  auto known_threads = std::exchange(known_threads_, {});
  // A number of its own, for what only this reading meets.
  const uint64_t attempt = std::exchange(attempt_, ++attempts_);
  PausedState again;
  again.now_ns = state.now_ns;
  again.boottime_ns = state.boottime_ns;
  TRY(prepare_spaces(group, again));
  TRY(read_objects(again));
  TRY(take_memory_inodes(again));
  TRY(build_records(again));
  if (pending_signals(again.records) != pending_signals(state.records) || has_expired(state.records, again.records)) {
    return passing_failure("a timer expired during the audit", Retry::at_once);
  }
  for (const auto& [address, file] : known_files) known_files_.at(address) = file;
  known_tables_ = std::move(known_tables);
  known_threads_ = std::move(known_threads);
  attempt_ = attempt;
  for (const auto& [mm, space] : spaces_) TRY(audit->pages.add_space(*space->tracked, space->id));
  for (const posix::ObjectId id : again.memory_inodes) TRY(audit->pages.add_inode(memory_inodes_.at(id)->pages.file(), id));
  audit->records = std::move(again.records);
  return audit;
}

/// What only spares looking again.
void Capturer::forget_known() {
  for (auto& [mm, space] : spaces_) space->mapped = false;
  paths_.clear();
  watched_paths_.clear();
  known_directories_.clear();
  known_executables_.clear();
  for (const auto& [id, inode] : inodes_) inodes_looked_at_.insert(id);
  collector_.forget_told();
  file_systems_.clear();
  socket_options_ = {};
}

/// Everything that differs from the last records goes into the pending changes.
void Capturer::diff_records(PausedState& state) {
  std::string bytes;
  for (const auto& [id, object] : state.records) {
    object.SerializeToString(&bytes);
    const auto [last, fresh] = last_records_.try_emplace(id);
    last->second.met = true;
    if (!fresh && last->second.bytes == bytes) continue;
    pending_.put_object(id, bytes);
    std::swap(last->second.bytes, bytes);
  }
  const auto keep = [&](posix::ObjectId id) {
    if (const auto last = last_records_.find(id); last != last_records_.end()) last->second.met = true;
  };
  for (const posix::ObjectId id : state.kept) keep(id);
  for (const auto& [address, file] : known_files_) {
    if (file.met != attempt_ || !file.kept) continue;
    identities_.meet(*file.identity);
    keep(file.identity->number);
  }
  for (auto at = last_records_.begin(); at != last_records_.end();) {
    const bool met = std::exchange(at->second.met, false);
    if (!met) pending_.erase_object(at->first);
    at = met ? std::next(at) : last_records_.erase(at);
  }
  remember(state);
}

/// What the next epoch may keep.
void Capturer::remember(PausedState& state) {
  std::erase_if(inodes_, [&](const auto& inode) { return !state.kept.contains(inode.first) && !state.records.contains(inode.first); });
  for (auto& [id, object] : state.records) {
    if (object.has_inode()) inodes_.insert_or_assign(id, std::move(object));
  }
  inodes_looked_at_.clear();
  known_threads_ = std::move(state.known_threads);
  last_tasks_ = std::move(state.tasks);
  for (auto& captured : state.captured_files) {
    captured.file->can_be_kept = captured.can_be_kept;
    captured.file->questions = std::move(captured.questions);
    captured.file->kind = captured.kind;
  }
  for (auto& [address, table] : state.tables) {
    KnownTable& known = known_tables_[address];
    known.is_plain = table.locks.size() == 0 && table.directory_watches.size() == 0;
    known.read = std::move(table);
    known.files = std::move(state.table_files.at(address));
  }
  std::erase_if(known_tables_, [&](const auto& table) { return table.second.met != attempt_; });
  const size_t closed = std::erase_if(known_files_, [&](const auto& file) { return file.second.met != attempt_; });
  if (closed == 0) return;
  std::erase_if(paths_, [&](const auto& path) { return !known_files_.contains(path.first); });
  std::unordered_set<uint64_t> sockets;
  for (const auto& [address, file] : known_files_) sockets.insert(file.socket);
  socket_options_.forget_all_but(sockets);
}

Result<posix::TaskTable> Capturer::group_tasks() {
  auto tasks = TRY(collector_.tasks());
  remove_foreign(tasks.threads, foreign_, [](const auto* thread) { return thread->brief.signal; });
  return tasks;
}

/// The first epoch drives the tasks, which a seccomp filter might not survive: this comes before.
Result<void> Capturer::refuse_what_cannot_be_saved(const posix::TaskTable& tasks) {
  TRY(posix::refuse_what_cannot_be_saved(tasks));
  for (const posix::ThreadRecord* thread : tasks.threads) {
    if (is_scaffold(thread->brief) || is_dead(thread->brief)) continue;
    const auto* credentials = tasks.credentials.find(thread->brief.credentials);
    if (credentials != nullptr && TRY(collector_.is_landlocked(*credentials))) {
      return failure(fmt::format("thread {} is confined by Landlock: this cannot be persisted", thread->brief.tid));
    }
  }
  // An attached group's mounts are those of where it was started.
  const std::string mounted = mounts_ ? TRY(mounts_->own_mount()) : "";
  if (!mounted.empty()) return failure(fmt::format("the group has mounted a file system of its own on {}: this cannot be persisted", mounted));
  return {};
}

}  // namespace perdure::capture
