// What of an epoll set only the process itself can put back.
#pragma once

#include <set>
#include <utility>

#include "base/result.h"
#include "linux/remote.h"
#include "posix/object_tree.h"

namespace perdure::posix {

/// A signalfd in an epoll set tells of the signals of the process that added it: a process that has both adds it again. `watched` (epoll set and
/// number in it) grows by what was added; what is in it already is left alone.
Result<void> add_signal_watches(SyscallBatch& batch, const DescriptorTable& table, const ObjectTree& tree, std::set<std::pair<ObjectId, int>>& watched);

}  // namespace perdure::posix
