// Directories whose changes are told by signals: fcntl(F_NOTIFY).
#pragma once

#include "base/result.h"
#include "linux/remote.h"
#include "posix/directory_watch.bpf.h"
#include "posix/directory_watch.pb.h"
#include "posix/object_tree.h"
#include "posix/restore_context.h"

namespace perdure::posix {

/// Error when the kernel watches for something that F_NOTIFY could not have asked for.
Result<record::DirectoryWatch> directory_watch(const DirectoryWatchRecord& source);

/// Has a thread that uses the table watch the directory again. `file` is what the descriptor refers to.
void add_directory_watch(SyscallBatch& batch, const record::DirectoryWatch& watch, const OpenFile& file, const RestoreContext& context);

}  // namespace perdure::posix
