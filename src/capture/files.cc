// Open files and inodes.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "capture/internal.h"
#include "linux/process.h"
#include "posix/directory_watch.h"
#include "posix/file_kind.h"

namespace perdure::capture {

namespace {
constexpr uint32_t kOpenFileDescriptionLock = 0x400;  // FL_OFDLCK of include/linux/filelock.h
constexpr unsigned kMinorBits = 20;                   // the kernel's own coding of device numbers

/// The open file by which a lock can be taken again: that by which it was taken, or else another one of the file in the same table.
Result<posix::ObjectId> file_to_lock_by(posix::CaptureContext& context, const posix::FileTable& table, const posix::FileLockRecord& lock) {
  const posix::FileRecord* other = nullptr;
  for (const posix::FileRecord* file : table.files) {
    if (file->file == lock.file) return context.file_object(file->file);
    if (file->inode == lock.inode && (file->flags & O_ACCMODE) == O_RDWR) other = file;
  }
  if (other == nullptr) return failure("a file is locked by a process that has it open no more");
  return context.file_object(other->file);
}

bool is_equal(std::span<const std::byte> first, std::span<const std::byte> second) {
  return first.size() == second.size() && std::memcmp(first.data(), second.data(), first.size()) == 0;
}

/// What other files have a part in, what is added to a record later, and what goes on while the group stands still is looked at in each epoch.
bool can_be_kept(const posix::FileSource& source) {
  return source.record.message == 0 && source.record.kind != posix::kTerminalFile && source.record.kind != posix::kTimerfdFile && source.table.locks.of(source.record.inode).empty();
}

/// Where a path of a file system is mounted, as a process sees it: /proc/PID/mountinfo (proc(5)).
Result<std::string> path_of_mounted(pid_t pid, uint32_t device, const std::string& path) {
  std::istringstream lines(TRY(read_file(fmt::format("/proc/{}/mountinfo", pid))));
  const std::string wanted = fmt::format("{}:{}", device >> kMinorBits, device & ((1u << kMinorBits) - 1));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string number, parent, numbers, root, point;
    words >> number >> parent >> numbers >> root >> point;
    if (root == "/") root.clear();
    if (point == "/") point.clear();
    if (numbers != wanted || !path.starts_with(root) || (path.size() > root.size() && path[root.size()] != '/')) continue;
    const std::string found = point + path.substr(root.size());
    return found.empty() ? "/" : found;
  }
  return failure(fmt::format("'{}' lies in no file system that process {} sees", path, pid));
}
}

posix::ObjectId Capturer::Context::file_object(uint64_t file_address) {
  const posix::ObjectId id = capturer_.identities_.of(ObjectKind::open_file, file_address);
  note(Questions::Question::About::file, file_address, id);
  return id;
}

bool Capturer::Context::first_sight(uint64_t address) {
  const bool first = seen_.insert(address).second;
  note(Questions::Question::About::first_sight, address, first);
  return first;
}

bool Capturer::Context::answers_again(const posix::FileSource& source, const Questions& questions) {
  using About = Questions::Question::About;
  const auto is_as_before = [&](const Questions::Question& question) {
    switch (question.about) {
      case About::file: return file_object(question.address) == question.answer;
      case About::first_sight: return !seen_.contains(question.address) == (question.answer != 0);
      case About::inode: break;
    }
    return inode_object(source, "").value_or(0) == question.answer;
  };
  if (!std::ranges::all_of(questions.asked, is_as_before)) return false;
  for (const auto& question : questions.asked) {
    if (question.about == About::first_sight) seen_.insert(question.address);
  }
  return true;
}

uint64_t Capturer::Context::file_behind(pid_t host_pid, int descriptor) {
  note_unrepeatable();
  for (const auto& [address, owner] : state_.table_owner) {
    if (owner != host_pid) continue;
    for (const posix::FileRecord* file : state_.tables.at(address).files) {
      if (file->descriptor == descriptor) return file->file;
    }
  }
  return 0;
}

Result<std::string> Capturer::Context::path_of(const posix::FileSource& source) {
  KnownPath& known = capturer_.known_path(source.record);
  if (known.path.empty()) known.path = TRY(read_link(fmt::format("/proc/{}/fd/{}", source.host_pid, source.record.descriptor)));
  return known.path;
}

Result<std::string> Capturer::Context::path_within_group(pid_t host_pid, uint32_t device, const std::string& path_in_file_system) {
  note_unrepeatable();
  std::string& path = capturer_.watched_paths_[{device, path_in_file_system}];
  if (path.empty()) path = TRY(path_of_mounted(host_pid, device, path_in_file_system));
  return path;
}

/// Where the kernel has forgotten the name, the one of the last checkpoint serves if it still leads to the same inode.
Result<std::string> Capturer::Context::watched_file(pid_t host_pid, const posix::InotifyWatchRecord& watch) {
  note_unrepeatable();
  std::string& path = watched_files_[{watch.mark, watch.inode_number}];
  if (watch.is_named != 0) {
    path = TRY(path_within_group(host_pid, watch.device, posix::watched_path(watch)));
    return path;
  }
  const auto last = capturer_.watched_files_.find({watch.mark, watch.inode_number});
  if (last != capturer_.watched_files_.end()) path = last->second;
  struct stat status {};
  const bool is_there = !path.empty() && ::lstat(fmt::format("/proc/{}/root{}", host_pid, path).c_str(), &status) == 0;
  if (is_there && status.st_ino == watch.inode_number) return path;
  return passing_failure(fmt::format("it watches inode {}, whose name the kernel has forgotten: look at the file once (stat), and it is persisted",
                                     watch.inode_number), Retry::later);
}

int64_t Capturer::Context::clock_offset_ns(int clock) const {
  return clock == CLOCK_MONOTONIC ? capturer_.monotonic_offset_ns_ : clock == CLOCK_BOOTTIME ? capturer_.boottime_offset_ns_ : 0;
}

Result<Fd> Capturer::Context::duplicate(const posix::FileSource& source) {
  Fd& pidfd = pidfds_[source.host_pid];
  if (!pidfd) pidfd = TRY(open_pidfd(source.host_pid));
  return duplicate_descriptor(pidfd.get(), source.record.descriptor);
}

int Capturer::Context::standard_stream(const posix::FileSource& source) const {
  for (int number = 0; number < 3; ++number) {
    if (capturer_.standard_streams_[static_cast<size_t>(number)] == source.record.file) return number;
  }
  return -1;
}

bool Capturer::Context::is_group_terminal(const posix::FileSource& source) const {
  const posix::TerminalRecord* terminal = source.table.terminals.find(source.record.file);
  return terminal != nullptr && capturer_.terminal_device_ != 0 &&
         (terminal->major << kMinorBits | (terminal->minor_start + terminal->index)) == capturer_.terminal_device_;
}

/// What is known of a file's path; empty when it may have changed.
Capturer::KnownPath& Capturer::known_path(const posix::FileRecord& file) {
  KnownPath& known = paths_[file.file];
  if (known.inode != file.inode || known.signature != file.path_signature || known.link_count != file.link_count) {
    known = {.inode = file.inode, .signature = file.path_signature, .link_count = file.link_count, .path = {}, .inode_known = false};
  }
  return known;
}

Result<posix::ObjectId> Capturer::Context::inode_object(const posix::FileSource& source, const std::string&) {
  KnownPath& known = capturer_.known_path(source.record);
  const posix::ObjectId number = capturer_.identities_.of(ObjectKind::inode, source.record.inode, source.record.inode_number);
  const auto told = [&](posix::ObjectId id) {
    note(Questions::Question::About::inode, source.record.inode, id);
    return id;
  };
  const auto last = capturer_.inodes_.find(number);
  // Only what lies outside is known by its path alone: other inodes have contents to look after.
  const bool in_memory = source.record.filesystem_magic == TMPFS_MAGIC || source.record.filesystem_magic == HUGETLBFS_MAGIC;
  if (known.inode_known && !in_memory && last != capturer_.inodes_.end() && last->second.inode().kind() == posix::Inode::kFile) {
    if (state_.inodes.try_emplace(source.record.inode, number).second) capturer_.keep_inode(number, state_);
    return told(number);
  }
  known.inode_known = true;
  return told(TRY(capturer_.inode_at(fmt::format("/proc/{}/fd/{}", source.host_pid, source.record.descriptor), source.record.inode,
                                     source.record.inode_number, (source.record.flags & O_ACCMODE) != O_RDONLY, state_)));
}

Result<void> Capturer::read_files(PausedState& state) {
  const auto main_tables = posix::main_tables(state.tasks);
  for (const posix::ThreadRecord* thread : state.tasks.threads) {
    const posix::ThreadBrief& brief = thread->brief;
    if (is_scaffold(brief) || is_dead(brief) || brief.files == 0 || state.tables.contains(brief.files)) continue;
    const bool own = main_tables.at(brief.signal) != brief.files;
    const pid_t host_pid = own ? static_cast<pid_t>(brief.host_tid) : state.process_handle(brief);
    state.tables.emplace(brief.files, TRY(collector_.files(host_pid)));
    state.table_owner[brief.files] = host_pid;
  }
  Context context(*this, state);
  for (const auto& [address, table] : state.tables) TRY(capture_table(address, context, state));
  TRY(capture_in_flight(context, state));
  watched_files_ = context.take_watched_files();
  TRY(read_file_locks(context, state));
  TRY(read_directory_watches(state));
  TRY(check_watched_files(state));
  return check_terminals(state);
}

Result<void> Capturer::capture_table(uint64_t address, Context& context, PausedState& state) {
  const posix::FileTable& table = state.tables.at(address);
  const pid_t host_pid = state.table_owner.at(address);
  const posix::ObjectId id = identities_.of(ObjectKind::descriptor_table, address);
  KnownTable& known = known_tables_[address];
  known.met = attempt_;
  const bool is_plain = table.locks.size() == 0 && table.directory_watches.size() == 0;
  bool is_as_it_was = is_plain && known.is_plain && known.files.size() == table.files.size();
  std::vector<KnownFile*>& files = state.table_files[address];
  files.reserve(table.files.size());
  size_t at = 0;
  for (const posix::FileRecord* file : table.files) {
    while (at < known.files.size() && known.read.files[at]->descriptor < file->descriptor) ++at;
    const posix::FileRecord* last = at < known.files.size() ? known.read.files[at] : nullptr;
    const bool is_same = last != nullptr && last->descriptor == file->descriptor && last->file == file->file;
    is_as_it_was = is_as_it_was && is_same && last->close_on_exec == file->close_on_exec;
    files.push_back(is_same ? known.files[at] : &known_file(file->file));
    TRY(capture_file({*file, host_pid, 0, table}, is_same ? last : nullptr, *files.back(), context, state));
  }
  if (is_as_it_was) {
    state.kept.insert(id);
    return {};
  }
  // Should this attempt come to nothing, the last epoch's record is not what was read last.
  known.is_plain = false;
  posix::DescriptorTable& descriptors = *state.records[id].mutable_descriptor_table();
  for (size_t number = 0; number < files.size(); ++number) {
    posix::Descriptor& descriptor = *descriptors.add_descriptors();
    descriptor.set_number(table.files[number]->descriptor);
    descriptor.set_close_on_exec(table.files[number]->close_on_exec != 0);
    descriptor.set_open_file(files[number]->identity->number);
  }
  return {};
}

KnownFile& Capturer::known_file(uint64_t file_address) {
  KnownFile& known = known_files_[file_address];
  if (known.identity == nullptr) known.identity = &identities_.identity(ObjectKind::open_file, file_address);
  return known;
}

/// Whether an open file description belongs to this epoch.
bool Capturer::is_met(uint64_t file_address) const {
  const auto known = known_files_.find(file_address);
  return known != known_files_.end() && known->second.met == attempt_;
}

/// Captures an open file description, unless it was already. `last`: the same descriptor, in the same table, in the last epoch.
Result<void> Capturer::capture_file(const posix::FileSource& source, const posix::FileRecord* last, KnownFile& known, Context& context, PausedState& state) {
  if (std::exchange(known.met, attempt_) == attempt_) return {};
  known.kept = keep_file(source, last, known, context, state);
  if (known.kept) return {};
  // Should this attempt come to nothing, the last epoch's record is not what was read last.
  known.can_be_kept = false;
  const auto* socket = source.record.kind == posix::kSocketFile ? source.table.sockets.find(source.record.file) : nullptr;
  known.socket = socket == nullptr ? 0 : socket->sock;
  identities_.meet(*known.identity);
  const posix::ObjectId id = known.identity->number;
  Questions questions;
  context.note_questions(&questions);
  const auto captured = capture_new_file(source, id, context, state);
  context.note_questions(nullptr);
  TRY(captured);
  const bool repeatable = questions.repeatable && can_be_kept(source);
  state.captured_files.push_back({&known, repeatable, std::move(questions), state.records[id].open_file().kind_case()});
  return {};
}

/// Whether the record of the last epoch is right: nothing of what it was made from has changed.
bool Capturer::keep_file(const posix::FileSource& source, const posix::FileRecord* last, const KnownFile& known, Context& context, PausedState& state) {
  if (last == nullptr || !known.can_be_kept || !can_be_kept(source)) return false;
  if (!is_equal(posix::FileTable::read_of(*last), posix::FileTable::read_of(source.record))) return false;
  if (!context.answers_again(source, known.questions)) return false;
  if (known.kind == posix::OpenFile::kRegularFile && !note_outside_file(source.record, source.host_pid, state)) return false;
  if (known.kind == posix::OpenFile::kEpoll) state.kept_epolls.push_back(&known);
  return true;
}

Result<void> Capturer::capture_new_file(const posix::FileSource& source, posix::ObjectId id, Context& context, PausedState& state) {
  const posix::FileRecord& file = source.record;
  posix::OpenFile& open_file = *state.records[id].mutable_open_file();
  open_file.set_flags(file.flags);
  open_file.set_position(file.position);
  if (file.has_owner != 0 || file.owner_signal != 0) {
    open_file.set_owner_type(static_cast<int>(file.owner_type));
    open_file.set_owner_pid(std::abs(file.owner_pid));
    open_file.set_owner_signal(static_cast<int>(file.owner_signal));
    open_file.set_owner_uid(file.owner_uid);
    open_file.set_owner_euid(file.owner_euid);
  }
  const posix::FileKind* found = nullptr;
  for (const posix::FileKind* kind : posix::file_kinds()) {
    if (found == nullptr && kind->recognizes(source, context)) found = kind;
  }
  const auto name = [&] { return fmt::format("process {}, descriptor {} ({})", source.host_pid, file.descriptor, file.name); };
  if (found == nullptr) {
    const auto path = context.path_of(source);
    return failure(fmt::format("{}{} is of a kind that cannot be persisted", name(), path ? ": " + *path : ""));
  }
  auto captured = found->capture(source, context, open_file);
  if (!captured) return std::unexpected(std::move(captured.error()).in(name() + ", " + found->name()));
  if (open_file.has_regular_file()) TRY(note_outside_file(file, source.host_pid, state));
  return {};
}

Result<void> Capturer::note_outside_file(const posix::FileRecord& file, pid_t host_pid, const PausedState& state) {
  if (!options_.sync_files || (file.flags & O_ACCMODE) == O_RDONLY || !S_ISREG(file.inode_mode)) return {};
  const auto inode = state.inodes.find(file.inode);
  if (inode == state.inodes.end() || state.memory_inodes.contains(inode->second)) return {};
  return outside_files_.note({file.inode, file.inode_number}, fmt::format("/proc/{}/fd/{}", host_pid, file.descriptor),
                             {.size = file.size, .modified_ns = file.mtime_ns, .changed_ns = file.ctime_ns});
}

/// An epoll set may watch what only somebody outside of the group still has open.
Result<void> Capturer::check_watched_files(const PausedState& state) const {
  const auto all_are_open = [&](const Questions& questions) {
    return std::ranges::all_of(questions.asked, [&](const auto& question) {
      return question.about != Questions::Question::About::file || is_met(question.address);
    });
  };
  constexpr const char* kWatched = "an epoll set watches a file that no process of the group has open any more";
  for (const KnownFile* epoll : state.kept_epolls) {
    if (!all_are_open(epoll->questions)) return failure(kWatched);
  }
  for (const auto& captured : state.captured_files) {
    if (captured.kind == posix::OpenFile::kEpoll && !all_are_open(captured.questions)) return failure(kWatched);
  }
  return {};
}

/// Locks belong to a descriptor table (POSIX) or to an open file description (flock, OFD); those of others on the same files are none of ours.
Result<void> Capturer::read_file_locks(Context& context, PausedState& state) {
  std::set<uint64_t> met;
  for (const auto& [address, table] : state.tables) {
    for (const posix::FileLockRecord* lock : table.locks) {
      const bool of_table = lock->kind == posix::kPosixLock && (lock->flags & kOpenFileDescriptionLock) == 0;
      if (of_table ? lock->owner != address : !is_met(lock->file)) continue;
      if (!met.insert(lock->lock).second) continue;
      if (lock->kind == posix::kLease) {
        return failure(fmt::format("process {} holds a lease (F_SETLEASE) on an open file: leases cannot be persisted", state.table_owner.at(address)));
      }
      const posix::ObjectId file = TRY(file_to_lock_by(context, table, *lock));
      auto& records = of_table
                          ? *state.records[identities_.of(ObjectKind::descriptor_table, address)].mutable_descriptor_table()->mutable_locks()
                          : *state.records[file].mutable_open_file()->mutable_locks();
      record::FileLock& record = *records.Add();
      record.set_kind(lock->kind == posix::kFlock ? record::FileLock::kFlock : record::FileLock::kRange);
      record.set_type(static_cast<int>(lock->type));
      record.set_start(lock->start);
      record.set_end(lock->end);
      record.set_open_file(file);
    }
  }
  return {};
}

/// A watch belongs to the table by which it was asked for: what others watch is none of ours.
Result<void> Capturer::read_directory_watches(PausedState& state) {
  for (const auto& [address, table] : state.tables) {
    if (table.directory_watches.size() == 0) continue;
    auto& descriptors = *state.records[identities_.of(ObjectKind::descriptor_table, address)].mutable_descriptor_table();
    for (const posix::DirectoryWatchRecord* watch : table.directory_watches) {
      if (watch->table != address) continue;
      auto record = posix::directory_watch(*watch);
      if (!record) return std::unexpected(std::move(record.error()).in(fmt::format("process {}, descriptor {}", state.table_owner.at(address), watch->descriptor)));
      *descriptors.add_directory_watches() = *record;
    }
    std::ranges::sort(*descriptors.mutable_directory_watches(), {}, &record::DirectoryWatch::number);
  }
  return {};
}

}  // namespace perdure::capture
