// Attributes of threads and processes that are set by system calls of the task itself, or from outside by its number.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "linux/remote.h"
#include "posix/object_tree.h"
#include "posix/restore_context.h"

namespace perdure::posix {

/// Names, stacks for signals, robust list, rseq, ...: in the thread itself.
Result<void> add_thread_attributes(SyscallBatch& batch, const Thread& thread, const MakeRoom& make_room);
/// Last: what takes privilege away.
void add_thread_credentials(SyscallBatch& batch, const Thread& thread);

/// Working and root directory, umask, prctl state.
Result<void> add_process_attributes(SyscallBatch& batch, const Process& process, RestoreContext& context);
/// Dispositions, timers, pending signals: after all else, since they may act at once.
Result<void> add_process_signals(SyscallBatch& batch, const Process& process, RestoreContext& context, const MakeRoom& make_room);
/// What the address space carries and a change of user resets: after the credentials.
Result<void> add_mm_attributes(SyscallBatch& batch, const Process& process, RestoreContext& context);
/// Resource limits, oom_score_adj, nice value of the session: from outside.
Result<void> set_process_limits(pid_t host_pid, const Process& process);
/// Which memory a core dump holds: from outside.
Result<void> set_core_dump_filter(pid_t host_pid, const AddressSpace& space);

}  // namespace perdure::posix
