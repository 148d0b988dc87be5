// A blocking transfer (write(2), send(2), ...) that a stop cut short goes on with the rest and returns the total: by a few instructions
// that are written into the unused end of the vDSO's last page, private to the process.
#pragma once

#include <sys/user.h>

#include <cstdint>
#include <optional>

#include "base/result.h"

namespace perdure::posix {

/// A transfer as the program made it, and how many of its bytes are done.
struct HalfDoneTransfer {
  user_regs_struct entered;  ///< as at the call: arguments, orig_rax its number, rip behind it
  uint64_t done_bytes = 0;
};

/// The bytes that a call of this kind transfers unless something interrupts it; absent for calls that may always return fewer, and for those
/// whose buffers are a vector.
std::optional<uint64_t> wanted_bytes(uint64_t number, const user_regs_struct& registers);

/// Whether the address lies in the end of the vDSO (which begins at `vdso`) where continuations are put.
bool is_in_continuation(uint64_t vdso, uint64_t instruction_pointer);

/// The transfer that a thread is in the midst of, whose instruction pointer is_in_continuation(). `registers` are its present ones; on return
/// `finished` tells whether the call has returned for good: then `entered.rax` is its result.
struct ContinuedTransfer {
  HalfDoneTransfer transfer;
  bool finished = false;
};
Result<ContinuedTransfer> continued_transfer(int process_memory, uint64_t vdso, const user_regs_struct& registers);

/// Writes a continuation for thread `tid` (which is stopped) and returns the registers that take it there. `occupied` tells of any
/// other thread whether it is in the continuation at an address. Error when there is no room.
template <typename Occupied>
Result<user_regs_struct> continue_transfer(int process_memory, uint64_t vdso, const HalfDoneTransfer& transfer, Occupied occupied);

/// Where the continuation number `slot` would lie; absent behind the last one.
std::optional<uint64_t> continuation_address(uint64_t vdso, int slot);
/// Writes one at that address.
Result<user_regs_struct> write_continuation(int process_memory, uint64_t address, const HalfDoneTransfer& transfer);

template <typename Occupied>
Result<user_regs_struct> continue_transfer(int process_memory, uint64_t vdso, const HalfDoneTransfer& transfer, Occupied occupied) {
  for (int slot = 0;; ++slot) {
    const auto address = continuation_address(vdso, slot);
    if (!address) return failure("too many transfers are half done in one process");
    if (!occupied(*address)) return write_continuation(process_memory, *address, transfer);
  }
}

/// Bytes of one continuation.
inline constexpr uint64_t kContinuationBytes = 104;

}  // namespace perdure::posix
