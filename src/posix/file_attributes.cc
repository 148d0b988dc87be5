#include "posix/file_attributes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace perdure::posix {

namespace {

constexpr int kStatusFlags = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK;

/// The number that names the owner here: of a process group, that of the group of any process that belongs to it.
pid_t owner_here(const OpenFile& file, const RestoreContext& context) {
  if (file.owner_type() != F_OWNER_PGRP) return context.host_pid(file.owner_pid());
  for (const auto& [id, object] : context.tree.objects()) {
    if (!object.has_process() || object.process().process_group() != file.owner_pid()) continue;
    if (const pid_t member = context.host_pid(object.process().pid()); member != 0) return getpgid(member);
  }
  return 0;
}

/// The kernel notes on whose behalf the owner is set: a thread takes that user's ids for it.
Result<void> set_owner(int fd, const OpenFile& file, pid_t owner) {
  int error = 0;
  std::thread([&] {
    const f_owner_ex argument{static_cast<__pid_type>(file.owner_type()), owner};
    // The raw call changes this thread alone.
    if (file.owner_uid() != 0 || file.owner_euid() != 0) syscall(SYS_setresuid, file.owner_uid(), file.owner_euid(), -1);
    error = fcntl(fd, F_SETOWN_EX, &argument) == 0 ? 0 : errno;
  }).join();
  if (error != 0) return std::unexpected(Error{"set the owner of an open file", error});
  return {};
}

/// One that is not is in flight in a socket.
bool is_in_a_table(ObjectId id, const ObjectTree& tree) {
  return std::ranges::any_of(tree.objects(), [&](const auto& entry) {
    const auto& descriptors = entry.second.descriptor_table().descriptors();
    return std::ranges::find(descriptors, id, &Descriptor::open_file) != descriptors.end();
  });
}

Result<void> take_lock(int fd, const record::FileLock& lock) {
  if (lock.kind() == record::FileLock::kFlock) {
    if (flock(fd, (lock.type() == F_RDLCK ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) return system_error("lock an open file again (flock)");
    return {};
  }
  struct flock argument = lock_argument(lock);
  if (fcntl(fd, F_OFD_SETLK, &argument) != 0) return system_error("lock an open file again (F_OFD_SETLK)");
  return {};
}

}  // namespace

bool has_owner_here(const OpenFile& file, const RestoreContext& context) { return file.owner_pid() != 0 && owner_here(file, context) != 0; }

struct flock lock_argument(const record::FileLock& lock) {
  struct flock argument {};
  argument.l_type = static_cast<short>(lock.type());
  argument.l_whence = SEEK_SET;
  argument.l_start = lock.start();
  argument.l_len = lock.end() == INT64_MAX ? 0 : lock.end() - lock.start() + 1;
  return argument;
}

Result<void> add_async_flags(SyscallBatch& batch, const DescriptorTable& table, RestoreContext& context, const MakeRoom& make_room) {
  for (const Descriptor& descriptor : table.descriptors()) {
    const uint64_t flags = TRY(context.tree.open_file(descriptor.open_file()))->flags();
    if ((flags & O_ASYNC) == 0 || (flags & O_PATH) != 0 || !context.async_files.insert(descriptor.open_file()).second) continue;
    batch.add("have an open file send signals", SYS_fcntl, {static_cast<uint64_t>(descriptor.number()), F_SETFL, flags & kStatusFlags});
    TRY(make_room());
  }
  return {};
}

Result<void> restore_file_attributes(int fd, ObjectId id, const RestoreContext& context) {
  const OpenFile& file = *TRY(context.tree.open_file(id));
  int flags = static_cast<int>(file.flags());
  if ((flags & O_ASYNC) != 0 && is_in_a_table(id, context.tree)) flags &= ~O_ASYNC;
  if (flags & O_PATH) return {};
  for (const record::FileLock& lock : file.locks()) TRY(take_lock(fd, lock));
  if (file.owner_signal() != 0 && fcntl(fd, F_SETSIG, file.owner_signal()) != 0) return system_error("set the signal of an open file");
  // An owner that is gone is never signalled again.
  if (has_owner_here(file, context)) TRY(set_owner(fd, file, owner_here(file, context)));
  const int present = fcntl(fd, F_GETFL);
  if ((present & kStatusFlags) == (flags & kStatusFlags)) return {};
  if (fcntl(fd, F_SETFL, flags & kStatusFlags) != 0) return system_error(fmt::format("set the status flags {:o} of an open file", flags));
  return {};
}

}  // namespace perdure::posix
