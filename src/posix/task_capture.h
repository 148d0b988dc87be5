// From what the collector read to the records of tasks.
#pragma once

#include <sys/user.h>

#include <map>
#include <optional>

#include "base/result.h"
#include "posix/collector.h"
#include "posix/object_tree.h"

namespace perdure::posix {

/// The system call that a thread is blocked in, as far as its registers do not tell it.
struct BlockedCall {
  uint64_t number = 0;        ///< never restart_syscall(2), but the call that it goes on with
  int64_t remaining_ns = -1;  ///< of its relative timeout, or of one that the socket imposes; -1 without
  uint64_t done = 0;          ///< of its transfer: bytes, or messages
  uint64_t ahead_bytes = 0;   ///< of a sendfile(2): see thread.proto
  std::optional<user_regs_struct> entered;  ///< the registers to save instead of the present ones: those of the program itself
};

/// All of a thread's registers as ptrace gives them.
user_regs_struct user_registers(const ThreadRecord& thread);

/// A thread's record; `call` is looked at only when the thread is in a system call.
Result<Thread> thread_record(const ThreadRecord& thread, const CredentialsRecord& credentials, const BlockedCall& call);

/// Refuses, by name, what no thread of a group may have because it cannot be read or cannot be made again.
Result<void> refuse_what_cannot_be_saved(const TaskTable& table);

/// The descriptor table of each process with live threads (by ThreadBrief::signal): that of its first live one. Other threads may have one of their own.
std::map<uint64_t, uint64_t> main_tables(const TaskTable& table);

/// Drops from the record of a first thread that has exited what would act on user memory once more when it exits again.
void forget_user_memory(Thread& thread);

/// Appends the signals that wait for `owner` (a task or a signal_struct).
void add_pending_signals(const TaskTable& table, uint64_t owner,
                         google::protobuf::RepeatedPtrField<record::PendingSignal>* pending);

/// A process's record, without references to other objects.
Result<Process> process_record(const TaskTable& table, const ProcessRecord& process, const ThreadRecord& leader);

SignalHandlers signal_handlers_record(const SignalHandlersRecord& handlers);

/// The fields of an address space; its mappings are added by the caller.
AddressSpace address_space_record(const AddressSpaceRecord& space);

}  // namespace perdure::posix
