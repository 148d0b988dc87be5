// Inodes whose contents are the store's: memfds, shared anonymous memory, deleted files.
#pragma once

#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "posix/object_tree.h"

namespace perdure::posix {

class RestoreContext;

/// Makes the inode again, as large as it was and with its contents; the descriptor is open for reading and writing. System V segments
/// are made in the IPC namespace that the calling thread is in.
Result<Fd> restore_memory_inode(ObjectId id, const Inode& inode, RestoreContext& context);

/// The last touch, when everything that maps the inode does so: seals, times, removal.
Result<void> finish_memory_inode(const Inode& inode, int file);

}  // namespace perdure::posix
