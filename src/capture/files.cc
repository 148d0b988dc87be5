// Open files and inodes.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
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
  return capturer_.identities_.of(ObjectKind::open_file, file_address);
}

uint64_t Capturer::Context::file_behind(pid_t host_pid, int descriptor) {
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
  std::string& path = capturer_.watched_paths_[{device, path_in_file_system}];
  if (path.empty()) path = TRY(path_of_mounted(host_pid, device, path_in_file_system));
  return path;
}

/// Where the kernel has forgotten the name, the one of the last checkpoint serves if it still leads to the same inode.
Result<std::string> Capturer::Context::watched_file(pid_t host_pid, const posix::InotifyWatchRecord& watch) {
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
  const auto last = capturer_.inodes_.find(number);
  // Only what lies outside is known by its path alone: other inodes have contents to look after.
  const bool in_memory = source.record.filesystem_magic == TMPFS_MAGIC || source.record.filesystem_magic == HUGETLBFS_MAGIC;
  if (known.inode_known && !in_memory && last != capturer_.inodes_.end() && last->second.inode().kind() == posix::Inode::kFile) {
    if (state_.inodes.try_emplace(source.record.inode, number).second) state_.records[number] = last->second;
    return number;
  }
  known.inode_known = true;
  return capturer_.inode_at(fmt::format("/proc/{}/fd/{}", source.host_pid, source.record.descriptor), source.record.inode,
                            source.record.inode_number, (source.record.flags & O_ACCMODE) != O_RDONLY, state_);
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
  for (const auto& [address, table] : state.tables) {
    posix::DescriptorTable& descriptors =
        *state.records[identities_.of(ObjectKind::descriptor_table, address)].mutable_descriptor_table();
    const pid_t host_pid = state.table_owner.at(address);
    for (const posix::FileRecord* file : table.files) {
      posix::Descriptor& descriptor = *descriptors.add_descriptors();
      descriptor.set_number(file->descriptor);
      descriptor.set_close_on_exec(file->close_on_exec != 0);
      const posix::ObjectId id = context.file_object(file->file);
      descriptor.set_open_file(id);
      TRY(capture_file({*file, host_pid, 0, table}, context, state));
    }
  }
  TRY(capture_in_flight(context, state));
  watched_files_ = context.take_watched_files();
  socket_options_.forget_unmet();
  TRY(read_file_locks(context, state));
  TRY(read_directory_watches(state));
  TRY(check_watched_files(state));
  TRY(check_terminals(state));
  std::erase_if(paths_, [&](const auto& known) { return !identities_.met(ObjectKind::open_file, known.first); });
  return {};
}

/// Captures an open file description, unless it was already.
Result<void> Capturer::capture_file(const posix::FileSource& source, Context& context, PausedState& state) {
  const posix::FileRecord& file = source.record;
  posix::OpenFile& open_file = *state.records[context.file_object(file.file)].mutable_open_file();
  if (open_file.kind_case() != posix::OpenFile::KIND_NOT_SET) return {};
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
  for (const auto& [id, object] : state.records) {
    if (!object.has_open_file() || !object.open_file().has_epoll()) continue;
    for (const auto& item : object.open_file().epoll().items()) {
      const auto target = state.records.find(item.open_file());
      if (target != state.records.end() && target->second.has_open_file()) continue;
      return failure(fmt::format("an epoll set watches a file, added as descriptor {}, that no process of the group has open any more", item.number()));
    }
  }
  return {};
}

/// Locks belong to a descriptor table (POSIX) or to an open file description (flock, OFD); those of others on the same files are none of ours.
Result<void> Capturer::read_file_locks(Context& context, PausedState& state) {
  std::set<uint64_t> met;
  for (const auto& [address, table] : state.tables) {
    for (const posix::FileLockRecord* lock : table.locks) {
      const bool of_table = lock->kind == posix::kPosixLock && (lock->flags & kOpenFileDescriptionLock) == 0;
      if (of_table ? lock->owner != address : !state.records.contains(context.file_object(lock->file))) continue;
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
