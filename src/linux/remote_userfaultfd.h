// A userfaultfd of another process, opened by one of its threads on our behalf.
#pragma once

#include <cstdint>

#include "base/fd.h"
#include "base/result.h"
#include "linux/ptrace.h"

namespace perdure {

/// Bytes at the end of the vDSO's last page that open_remote_userfaultfd() writes to, where they are not used by the image itself.
inline constexpr uint64_t kRemoteUserfaultfdBytes = 192;

/// Has a stopped thread of process `pid` open a userfaultfd, takes it over, and has it closed there. `vdso`: where the process has its vDSO;
/// `syscall_address`: a syscall instruction in it. The thread is left as it was. What it runs meanwhile (a few instructions in the unused end of
/// the vDSO) closes the descriptor and puts back registers and signal mask by itself, so that a tracer that is killed half-way leaves no
/// trace. A vDSO without room for that is driven call by call instead.
enum class FaultsOf : uint8_t {
  user_mode,  ///< of the process alone: any process may ask for that
  everybody,  ///< of the kernel too, when it reads or writes the process's memory: only for a privileged thread
};
Result<Fd> open_remote_userfaultfd(TracedThread& thread, pid_t pid, uint64_t vdso, uint64_t syscall_address, FaultsOf faults = FaultsOf::user_mode);

/// How many bytes are unused at the end of the vDSO's last page, and where they begin, from its start. Every process of this kernel has zeros there.
struct VdsoRoom {
  uint64_t offset = 0;
  uint64_t size = 0;
};
VdsoRoom find_vdso_room();

}  // namespace perdure
