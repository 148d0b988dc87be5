// The steps that turn a bare task into the process it was. Each drives the task's leader thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "memory/lazy_fill.h"
#include "posix/restore_context.h"
#include "restore/task_builder.h"

namespace perdure::restore {

/// Puts a batch stub into the bare task, clear of everything that it has and will have, and removes the rest of its memory except the vDSO.
Result<void> clear_address_space(BareProcess& process, const posix::AddressSpace& wanted, uint64_t vdso_syscall_offset);

/// Maps what was mapped, sets the mm's fields. Needs clear_address_space.
Result<void> map_address_space(BareProcess& process, posix::RestoreContext& context);

/// Fills in the private pages of all processes, as the checkpoint has them; with `lazy`, has them come when they are touched, where that is possible.
/// What fails for the store's sake is noted as the context's damage.
Result<void> fill_private_pages(const std::map<int, std::unique_ptr<BareProcess>>& processes, posix::RestoreContext& context, uint64_t vdso_syscall_offset,
                                memory::LazyFill* lazy);

/// What mappings get when their pages are there: locks, guard pages, keys, seals.
Result<void> finish_address_space(BareProcess& process, posix::RestoreContext& context);

/// Gives the process its descriptors under their numbers. Needs the stub.
Result<void> rebuild_descriptors(BareProcess& process, posix::RestoreContext& context);

/// Gives the group's terminal the settings that the group had made.
Result<void> set_up_group_terminal(const posix::RestoreContext& context);

/// The name of the terminal that is to control the session which the process leads; absent without one.
Result<std::optional<std::string>> controlling_terminal_path(const posix::Process& process, const posix::RestoreContext& context);

/// Puts a process group in the foreground of that terminal. Needs the process's descriptors in place.
Result<void> rebuild_terminal(BareProcess& process, posix::RestoreContext& context);

/// Creates the other threads, all at rest in the stub.
Result<void> create_threads(BareProcess& process, posix::RestoreContext& context);

/// What a process and its threads have by system calls of their own: dispositions, timers, credentials, names, pending signals.
Result<void> rebuild_attributes(BareProcess& process, posix::RestoreContext& context);

/// Removes the stub, and sets the registers with which each thread goes on.
Result<void> finish_threads(BareProcess& process, posix::RestoreContext& context, uint64_t vdso_syscall_offset);

/// A batch of descriptors sent to the task; they arrive under its lowest free numbers.
Result<void> deliver_descriptors(BareProcess& process, posix::RestoreContext& context, std::span<const int> descriptors);

}  // namespace perdure::restore
