// What every open file description has, whatever its kind: status flags, the owner that is signalled, locks.
#pragma once

#include <fcntl.h>

#include "base/result.h"
#include "posix/object_tree.h"
#include "posix/restore_context.h"

namespace perdure::posix {

/// Puts them back, once the group's tasks exist and the file is as it was otherwise.
Result<void> restore_file_attributes(int fd, const OpenFile& file, const RestoreContext& context);

/// The argument of fcntl(F_SETLK) for a lock.
struct flock lock_argument(const record::FileLock& lock);

}  // namespace perdure::posix
