// What every open file description has, whatever its kind: status flags, the owner that is signalled, locks.
#pragma once

#include <fcntl.h>

#include "base/result.h"
#include "linux/remote.h"
#include "posix/object_tree.h"
#include "posix/restore_context.h"

namespace perdure::posix {

/// Puts them back, once the group's tasks exist and the file is as it was otherwise. O_ASYNC is left to a process that has the file.
Result<void> restore_file_attributes(int fd, ObjectId id, const RestoreContext& context);

/// Has the process set O_ASYNC of those of its files that have it and where no other process has done so yet: a signal tells the number under
/// which it was set.
Result<void> add_async_flags(SyscallBatch& batch, const DescriptorTable& table, RestoreContext& context, const MakeRoom& make_room);

/// Whether somebody is restored whom it signals.
bool has_owner_here(const OpenFile& file, const RestoreContext& context);

/// The argument of fcntl(F_SETLK) for a lock.
struct flock lock_argument(const record::FileLock& lock);

}  // namespace perdure::posix
