// System V semaphores and message queues. They belong to an IPC namespace: the calling thread must be in the group's.
#pragma once

#include <vector>

#include "base/result.h"
#include "linux/remote.h"
#include "posix/collector.h"
#include "posix/object_tree.h"

namespace perdure::posix {

/// Every semaphore set of the namespace, with the undo lists of the group's processes.
Result<std::vector<SystemVSemaphores>> capture_semaphores(const TaskTable& tasks);
Result<std::vector<SystemVMessages>> capture_messages();

/// Make them anew, with their ids and keys, in a namespace that has none of these.
Result<void> restore_semaphores(const SystemVSemaphores& set);
Result<void> restore_messages(const SystemVMessages& queue);

/// Has a process make its undo entries again, by operations that leave the values as they are.
Result<void> add_semaphore_undos(SyscallBatch& batch, int pid, const ObjectTree& tree);

}  // namespace perdure::posix
