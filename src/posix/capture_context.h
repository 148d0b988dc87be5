// What the kinds of kernel objects see of a capture under way.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "posix/collector.h"
#include "posix/object_tree.h"
#include "posix/socket_options.h"
#include "store/changes.h"

namespace perdure::posix {

/// An open file description, as met under one descriptor of one process of the stopped group.
struct FileSource {
  const FileRecord& record;
  pid_t host_pid;
  int pid;  ///< in the group's PID namespace
  const FileTable& table;  ///< the process's, with the state of what its files are
};

/// One capture: numbers for the objects it meets, and access to them. Implemented by the room `capture`.
class CaptureContext {
 public:
  virtual ~CaptureContext() = default;
  /// The object number of an open file description, by its kernel address; it will be captured itself if any descriptor names it.
  virtual ObjectId file_object(uint64_t file_address) = 0;
  /// The address of the open file description behind another descriptor of the same process; 0 when there is none.
  virtual uint64_t file_behind(pid_t host_pid, int descriptor) = 0;
  /// The object of the inode behind a file; captured (contents too where they are the store's) at the first call of an epoch.
  virtual Result<ObjectId> inode_object(const FileSource& source, const std::string& path) = 0;
  /// True once per epoch and key (a kernel address): for what several open files share, such as the buffer of a pipe.
  virtual bool first_sight(uint64_t address) = 0;
  /// Where the file is, in the group's mount namespace; " (deleted)" stands behind the path of an unlinked one.
  virtual Result<std::string> path_of(const FileSource& source) = 0;
  /// A duplicate of the descriptor, in this process. It shares offset and flags with the group's: leave them alone.
  virtual Result<Fd> duplicate(const FileSource& source) = 0;
  /// A path of a file that no descriptor names, from its path within its file system (see watched_path).
  virtual Result<std::string> path_within_group(pid_t host_pid, uint32_t device, const std::string& path_in_file_system) = 0;
  /// Where what an inotify instance watches is.
  virtual Result<std::string> watched_file(pid_t host_pid, const InotifyWatchRecord& watch) = 0;
  /// The object of the POSIX message queue behind a descriptor.
  virtual Result<ObjectId> message_queue(const FileSource& source) = 0;
  /// What the group's CLOCK_MONOTONIC or CLOCK_BOOTTIME shows more than the machine's; 0 of other clocks.
  virtual int64_t clock_offset_ns(int clock) const = 0;
  /// What waits in the receive queue of a UNIX or UDP socket; the descriptors in flight in it will be captured too. `receiver` is the socket's
  /// file; null for a connection that is yet to be accepted. The result stays good for the capture.
  virtual Result<const SocketQueue*> socket_queue(uint64_t sock, const FileSource* receiver) = 0;
  /// The options of the group's sockets, from epoch to epoch.
  virtual SocketOptionCache& socket_options() = 0;
  /// Which of the standard streams that perdure gave the group this is; -1: none.
  virtual int standard_stream(const FileSource& source) const = 0;
  /// Whether this is the terminal that perdure gave the group, or /dev/tty for it.
  virtual bool is_group_terminal(const FileSource& source) const = 0;
};

}  // namespace perdure::posix
