// System calls in which a thread sleeps, and how each goes on after a restore (signal(7), "Interruption of system calls").
#pragma once

#include <sys/user.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "linux/restart.h"
#include "posix/object_tree.h"

namespace perdure::posix {

/// How a system call carries its timeout.
struct TimeoutArgument {
  enum class Form { none, milliseconds, timespec_pointer, timeval_pointer };
  Form form = Form::none;
  int argument = 0;  ///< index of the argument that holds it
};
/// The relative timeout of a system call; Form::none where it has none, or an absolute one (which simply stays).
TimeoutArgument relative_timeout_of(uint64_t number, const uint64_t arguments[6]);

/// A call that a thread is in.
struct CallArguments {
  uint64_t number = 0;
  uint64_t values[6] = {};
  uint64_t stack_pointer = 0;
};
CallArguments call_arguments(const user_regs_struct& registers);

/// The registers of a stopped thread of process `host_pid` with `remaining_ns` in the place of its call's relative timeout. A number of
/// milliseconds is marked in the upper half of its register, which the kernel ignores; a time lies below the stack, where nothing lives.
/// The registers as they are where there is no room for it.
user_regs_struct with_remaining_timeout(const user_regs_struct& registers, int64_t remaining_ns, pid_t host_pid);
/// Whether the call was made with what with_remaining_timeout() left.
bool has_remaining_timeout(const CallArguments& call);

/// Whether the thread stands in front of the instruction that has the kernel make its call again, though the call is still known as the one it is in:
/// it was stopped once more right after the kernel had set that up (arch_do_signal_or_restart()). What looks like a result is the call's number.
Result<bool> is_to_be_made_again(const user_regs_struct& registers, int process_memory);

/// Whether a stop makes the call return EINTR although no signal came, so that it must be started again.
bool returns_eintr_when_stopped(uint64_t number);

// By the names that the rooms above know them by.
using perdure::kRestartBlock;
using perdure::kRestartNoHandler;
using perdure::kRestartNoInterrupt;
using perdure::kRestartSys;

/// For registers of a stopped or sleeping thread: the result that, put into rax with orig_rax, makes the kernel take the call up
/// again as if nothing had been (or let a handler interrupt it, as it would have); absent when the thread is in no system call.
std::optional<int64_t> interrupted_result(const user_regs_struct& registers);

/// The registers with which a restored thread goes on, apart from those of deadline_call(). What is left of a timeout goes where the call
/// looks for it: into a register, into the memory of `host_pid` where the kernel itself would have put it (select and its like), or below
/// the thread's stack, where nothing lives.
Result<user_regs_struct> resume_registers(const Thread& thread, pid_t host_pid);

/// Whether the timeout that is left of a thread's call is not the call's own, but its socket's.
bool has_socket_timeout(const Thread& thread);

/// A call whose deadline the kernel keeps when it is interrupted (restart_syscall(2)).
struct DeadlineCall {
  std::vector<int64_t> time_argument;  ///< seconds and nanoseconds, for those that take a pointer
  int64_t milliseconds = 0;            ///< for poll(2)
};
/// Absent when the thread is not blocked in one, or has no timeout.
std::optional<DeadlineCall> deadline_call(const Thread& thread);
/// The registers that enter the call, with `address` for the place of the time argument.
user_regs_struct with_time_argument(const user_regs_struct& registers, const DeadlineCall& call, uint64_t address);
/// How the thread goes on when entering the call gave `result`: interrupted as it should be, or over already.
user_regs_struct after_deadline_call(const user_regs_struct& registers, uint64_t result);

}  // namespace perdure::posix
