#include "posix/restore_context.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "linux/process.h"
#include "posix/file_kind.h"
#include "posix/memory_inode.h"
#include "posix/message_queues.h"

namespace perdure::posix {

Result<int64_t> RestoreContext::elapsed_ns() const {
  // The offsets are those from the machine's own clock, which the supervisor may not have either.
  const ClockOffsets own = TRY(clock_offsets(getpid()));
  const ClockOffsets groups = TRY(clock_offsets(init.init_pid()));
  const int64_t now_ns = monotonic_ns() - own.monotonic_ns + groups.monotonic_ns;
  return std::max<int64_t>(now_ns - (*TRY(tree.group())).monotonic_ns(), 0);
}

Result<Fd> RestoreContext::open_in_group(const std::string& path, int flags, unsigned mode) const {
  const std::string root_path = fmt::format("/proc/{}/root", init.init_pid());
  Fd root(::open(root_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return system_error("open " + root_path);
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT;
  Fd fd(static_cast<int>(syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how)));
  if (!fd) return system_error(fmt::format("open '{}'", path));
  return fd;
}

Result<int> RestoreContext::memory_inode(ObjectId id, const Inode& inode) {
  if (const auto found = memory_.find(id); found != memory_.end()) return found->second.get();
  Fd made = TRY(restore_memory_inode(id, inode, *this));
  struct stat status {};
  if (fstat(made.get(), &status) != 0) return system_error("stat what was restored of an inode");
  made_inodes_[{status.st_dev, status.st_ino}] = id;
  return memory_.emplace(id, std::move(made)).first->second.get();
}

Result<void> RestoreContext::finish_memory_inodes() {
  for (const auto& [id, object] : tree.objects()) {
    // A segment that nobody is attached to is nobody's mapping.
    if (object.has_inode() && object.inode().kind() == Inode::kSystemVMemory) TRY(memory_inode(id, object.inode()));
  }
  for (const auto& [id, file] : memory_) TRY(finish_memory_inode(*TRY(tree.inode(id)), file.get()));
  return {};
}

Result<Fd> RestoreContext::open_inode(ObjectId id, int flags) {
  const Inode& inode = *TRY(tree.inode(id));
  if (inode.kind() == Inode::kFile) {
    Fd fd = TRY(open_in_group(inode.path(), flags));
    struct stat status {};
    if (fstat(fd.get(), &status) != 0) return system_error(fmt::format("stat '{}'", inode.path()));
    if (status.st_ino != inode.number() || status.st_dev != inode.device()) {
      return failure(fmt::format("'{}' is another file than at the checkpoint: put the old one back, or restore an earlier state of it",
                                 inode.path()));
    }
    return fd;
  }
  const int memory = TRY(memory_inode(id, inode));
  const std::string path = fmt::format("/proc/self/fd/{}", memory);
  Fd fd(::open(path.c_str(), (flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL | O_TRUNC | O_TMPFILE)) | O_CLOEXEC));
  if (!fd) return system_error(fmt::format("open '{}' again", inode.path()));
  return fd;
}

pid_t RestoreContext::host_pid(int pid) const {
  const auto found = host_pids_.find(pid);
  return found == host_pids_.end() ? 0 : found->second;
}

Result<int64_t> RestoreContext::clock_offset_ns(int clock) const {
  const ClockOffsets group = TRY(clock_offsets(init.init_pid()));
  const ClockOffsets own = TRY(clock_offsets(getpid()));
  if (clock == CLOCK_MONOTONIC) return group.monotonic_ns - own.monotonic_ns;
  return clock == CLOCK_BOOTTIME ? group.boottime_ns - own.boottime_ns : 0;
}

Result<int> RestoreContext::message_queue(ObjectId id) {
  if (const auto found = message_queues_.find(id); found != message_queues_.end()) return found->second.get();
  const auto object = tree.objects().find(id);
  if (object == tree.objects().end() || !object->second.has_message_queue()) return failure(fmt::format("the checkpoint lacks message queue {}", id));
  Fd queue = TRY(restore_message_queue(id, object->second.message_queue()));
  return message_queues_.emplace(id, std::move(queue)).first->second.get();
}

Result<void> RestoreContext::connect_file(ObjectId id) {
  if (!connected_.insert(id).second) return {};
  const OpenFile& file = *TRY(tree.open_file(id));
  const int fd = TRY(open_file(id));
  return file_kind_of(file)->connect(id, file, fd, *this);
}

void RestoreContext::close_files() {
  pairs.clear();
  terminals = {};
  files_.clear();
  message_queues_.clear();
  memory_.clear();
}

Result<int> RestoreContext::open_file(ObjectId id) {
  if (const auto found = files_.find(id); found != files_.end()) return found->second.get();
  const OpenFile& file = *TRY(tree.open_file(id));
  const FileKind* kind = file_kind_of(file);
  if (kind == nullptr) return failure(fmt::format("open file {} is of a kind that this perdure does not know", id));
  Fd fd = TRY(kind->restore(id, file, *this));
  return files_.emplace(id, std::move(fd)).first->second.get();
}

}  // namespace perdure::posix
