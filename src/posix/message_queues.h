// POSIX message queues themselves, whoever has them open. They belong to an IPC namespace: the calling thread must be in the group's.
#pragma once

#include <sys/stat.h>

#include "base/fd.h"
#include "base/result.h"
#include "linux/remote.h"
#include "posix/collector.h"
#include "posix/object_tree.h"

namespace perdure::posix {

inline constexpr uint64_t kMessageQueueMagic = 0x19800202;  ///< of their file system (linux/magic.h lacks it: ipc/mqueue.c)

/// All but the name.
void describe_message_queue(const MessageQueue& source, const struct stat& status, record::MessageQueue& record);

/// Makes the queue anew, with its messages.
Result<Fd> restore_message_queue(ObjectId id, const record::MessageQueue& queue);

/// Has the process that was to be told of the next message (mq_notify) ask for it again, by a descriptor of its own.
void add_notification(SyscallBatch& batch, int descriptor, const record::MessageQueue& queue);

}  // namespace perdure::posix
