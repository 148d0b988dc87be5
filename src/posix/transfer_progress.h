// How far a thread has come that sleeps in the middle of a read or write: what its registers do not say, its kernel stack does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "posix/file_wait.bpf.h"
#include "posix/transfer.bpf.h"

namespace perdure::posix {

inline constexpr uint64_t kTransferLimit = 0x7ffff000;  ///< MAX_RW_COUNT: the kernel transfers no more in one call

/// One piece of user memory that a system call transfers.
struct UserBuffer {
  uint64_t address;
  uint64_t size;
};

/// The live part of a thread's kernel stack.
struct KernelStack {
  std::span<const std::byte> bytes;
  uint64_t address;  ///< of the first of them
};

/// The bytes that have been transferred so far. `buffers` are those that the system call was given (one for write, send and the like, several
/// for writev and sendmsg). Nothing when the stack holds no transfer of them.
std::optional<uint64_t> transferred_bytes(const KernelStack& stack, const KernelLayout& layout, std::span<const UserBuffer> buffers);

/// A sendfile(2) to a socket.
struct Splice {
  uint64_t wanted_bytes;
  uint64_t target_file;       ///< identity of the open file that it writes to
  uint64_t source_position;   ///< where it began to read
  uint64_t bytes_in_pipe;     ///< read and not sent yet
};
/// The bytes that a thread asleep in it has sent so far. Nothing when the stack does not tell.
std::optional<uint64_t> spliced_bytes(const KernelStack& stack, const KernelLayout& layout, const Splice& splice);

/// When the timeout ends of a thread that waits for a socket (SO_RCVTIMEO, SO_SNDTIMEO): the kernel's timer for schedule_timeout() lies on its
/// stack. In ticks; nothing when it has none.
std::optional<uint64_t> sleep_end_ticks(const KernelStack& stack, const KernelLayout& layout, uint64_t task, const FileWait& wait);

}  // namespace perdure::posix
