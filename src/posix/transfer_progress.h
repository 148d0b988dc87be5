// How far a thread has come that sleeps in the middle of a read or write: what its registers do not say, its kernel stack does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "posix/transfer.bpf.h"

namespace perdure::posix {

/// One piece of user memory that a system call transfers.
struct UserBuffer {
  uint64_t address;
  uint64_t size;
};

/// The bytes that have been transferred so far, from the live part of the thread's kernel stack. `buffers` are those that the system call
/// was given (one for write, send and the like, several for writev and sendmsg). Nothing when the stack holds no transfer of them.
std::optional<uint64_t> transferred_bytes(std::span<const std::byte> stack, const KernelLayout& layout, std::span<const UserBuffer> buffers);

}  // namespace perdure::posix
