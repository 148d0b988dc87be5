// What the kinds of kernel objects share while a group is being restored.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "linux/group_init.h"
#include "posix/object_tree.h"
#include "posix/terminal.h"
#include "posix/unix_restore.h"
#include "store/store.h"

namespace perdure::posix {

/// One restore: what is being restored, and the kernel objects that already exist again. Objects are made once, here in the
/// supervisor, and then handed to every task that had them.
class RestoreContext {
 public:
  RestoreContext(const ObjectTree& tree, const store::View& view, const GroupInit& init, std::array<int, 3> standard_streams)
      : tree(tree), view(view), init(init), standard_streams(standard_streams) {}

  const ObjectTree& tree;
  const store::View& view;
  const GroupInit& init;
  const std::array<int, 3> standard_streams;  ///< borrowed: those of the new invocation
  int terminal_master = -1;                   ///< borrowed: of the group's new terminal; -1 without

  /// How far the group's clocks have gone on since the checkpoint (they run while it is being rebuilt): what is left of a timeout is less by it.
  Result<int64_t> elapsed_ns() const;

  /// open(2) of an absolute path as the group sees it (its own /proc, its mounts; symbolic links stay inside).
  Result<Fd> open_in_group(const std::string& path, int flags, unsigned mode = 0) const;

  /// A new open file description of an inode, contents included; `flags` as for open(2). The file must still be what it was.
  Result<Fd> open_inode(ObjectId inode, int flags);

  /// The open file description `id`: made at the first call. The descriptor stays owned by the context.
  Result<int> open_file(ObjectId id);
  bool has_open_file(ObjectId id) const { return files_.contains(id); }

  /// What can be done to memory inodes only when all mappings of them exist: seals, removal, times.
  Result<void> finish_memory_inodes();

  /// The number in the caller's PID namespace of a process or thread of the group; 0 when the group has none of that number.
  pid_t host_pid(int pid) const;
  /// To be called for every process and thread, before open files are made.
  void note_task(int pid, pid_t host_pid) { host_pids_[pid] = host_pid; }

  /// What the restored group's CLOCK_MONOTONIC or CLOCK_BOOTTIME shows more than the caller's; 0 of other clocks.
  Result<int64_t> clock_offset_ns(int clock) const;

  /// A POSIX message queue: made at the first call. The descriptor stays owned by the context.
  Result<int> message_queue(ObjectId id);

  /// FileKind::connect of an open file, once.
  Result<void> connect_file(ObjectId id);

  /// Closes what the context owns: the group's tasks have their own by then, and none of them may see a second owner.
  void close_files();

  /// By device and number: the inodes made anew whose contents are the store's.
  const std::map<std::pair<uint64_t, uint64_t>, ObjectId>& made_inodes() const { return made_inodes_; }

  /// Why the restore failed, where that is for what the store has of this epoch.
  std::optional<Error> damage;

  /// UNIX sockets, which are made before the processes (see unix_restore.h).
  UnixSocketsUnderWay unix_sockets;

  /// Pseudo terminals, which are made before the processes (see terminal.h).
  TerminalsUnderWay terminals;

  /// Descriptor tables that a process has filled again: others that share one find it so.
  std::set<ObjectId> filled_tables;

  /// Open files whose O_ASYNC is set again (see file_attributes.h).
  std::set<ObjectId> async_files;

  /// Signalfds in epoll sets that a process has added (see epoll.h).
  std::set<std::pair<ObjectId, int>> signal_watches;

  /// A second thing that comes into being with another one: the other end of a pipe or socket pair.
  std::map<uint64_t, std::array<Fd, 2>> pairs;

 private:
  Result<int> memory_inode(ObjectId id, const Inode& inode);
  std::map<ObjectId, Fd> files_;
  std::set<ObjectId> connected_;
  std::map<ObjectId, Fd> message_queues_;
  std::map<int, pid_t> host_pids_;
  std::map<ObjectId, Fd> memory_;
  std::map<std::pair<uint64_t, uint64_t>, ObjectId> made_inodes_;
};

}  // namespace perdure::posix
