// A blocking transfer (write(2), sendmsg(2), ...) that a stop cut short goes on with the rest and returns the total: by a few instructions
// that are written into the unused end of the vDSO's last page, private to the process.
#pragma once

#include <sys/user.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "posix/transfer_progress.h"

namespace perdure::posix {

/// What a system call moves unless something interrupts it.
struct WantedTransfer {
  enum class Unit { bytes, file_bytes, messages };
  Unit unit = Unit::bytes;
  uint64_t count = 0;               ///< of that unit: what the call then returns
  std::vector<UserBuffer> buffers;  ///< for Unit::bytes: where they lie in the program's memory
};

/// Of the call that `registers` (as at its entry) make; absent for calls that may always return less. `process_memory`: see
/// open_process_memory(). Error when the call's vectors cannot be read.
Result<std::optional<WantedTransfer>> wanted_transfer(const user_regs_struct& registers, int process_memory);

/// The buffers of each message of a call with Unit::messages.
Result<std::vector<std::vector<UserBuffer>>> message_buffers(const user_regs_struct& registers, int process_memory);

/// Whether sendmmsg(2), interrupted after `done` messages, has sent the last of them whole. (Over a stream it may have not; what is left of it is then
/// the program's to send, as after any short count.)
Result<bool> last_message_is_whole(const user_regs_struct& entered, uint64_t done, int process_memory);

/// recvmmsg(2) keeps what interrupted it for the socket's next call: takes that away. `host_pid`: of the process.
Result<void> take_interruption(pid_t host_pid, const user_regs_struct& entered);

/// A transfer as the program made it, and how much of it is done.
struct HalfDoneTransfer {
  user_regs_struct entered;  ///< as at the call: arguments, orig_rax its number, rip behind it
  uint64_t done = 0;         ///< in the call's unit
  pid_t host_pid = 0;        ///< of the process, as the caller's PID namespace numbers it
  bool asleep = true;        ///< whether the thread slept in it when it was interrupted
};

/// Whether a thread of a process whose vDSO begins at `vdso` executes a continuation there.
bool is_in_continuation(uint64_t vdso, uint64_t instruction_pointer);

/// The transfer that a thread is in the midst of, whose instruction pointer is_in_continuation(). `registers` are its present ones; on return
/// `finished` tells whether the call has returned for good: then `entered.rax` is its result.
struct ContinuedTransfer {
  HalfDoneTransfer transfer;
  bool finished = false;
};
Result<ContinuedTransfer> continued_transfer(int process_memory, uint64_t vdso, const user_regs_struct& registers);

/// Where the data of continuation number `slot` lies: in the frame pointer of the thread that executes it. Absent behind the last one.
std::optional<uint64_t> continuation_address(uint64_t vdso, uint64_t slot);
/// How many transfers of one process can be half done at a time.
uint64_t continuation_count();

/// Writes a continuation with its data at that address; returns the registers that take the thread, which is stopped, there.
Result<user_regs_struct> write_continuation(int process_memory, uint64_t vdso, uint64_t address, const HalfDoneTransfer& transfer);

/// The same in the first free place; `occupied` tells of an address whether another thread executes the continuation there. Error when there
/// is no room.
template <typename Occupied>
Result<user_regs_struct> continue_transfer(int process_memory, uint64_t vdso, const HalfDoneTransfer& transfer, Occupied occupied) {
  for (uint64_t slot = 0;; ++slot) {
    const auto address = continuation_address(vdso, slot);
    if (!address) return failure("too many transfers are half done in one process");
    if (!occupied(*address)) return write_continuation(process_memory, vdso, *address, transfer);
  }
}

}  // namespace perdure::posix
