// System calls made by another task on our behalf.
#pragma once

#include <sys/user.h>

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "linux/ptrace.h"

namespace perdure {

/// Where, from the start of the vDSO image of this kernel, a `syscall` instruction lies. Every process of the machine has it.
Result<uint64_t> find_vdso_syscall_offset();

/// Lets a stopped thread run to the end of the next system call that it makes. Signals that come up meanwhile are delivered. Tasks that the call
/// created (and the kernel attached) are added to `created`, if given.
Result<void> run_through_syscall(TracedThread& thread, std::vector<pid_t>* created);

/// Single calls in a live, stopped thread: borrows its registers and blocks its signals while it exists, and puts everything
/// back in the destructor. The thread's own interrupted system call is restarted by the kernel afterwards as if nothing had been.
class RemoteSyscalls {
 public:
  /// `syscall_address`: a `syscall` instruction in the thread's address space.
  static Result<RemoteSyscalls> begin(TracedThread& thread, uint64_t syscall_address);
  RemoteSyscalls(RemoteSyscalls&& other) noexcept;
  RemoteSyscalls& operator=(RemoteSyscalls&&) = delete;
  ~RemoteSyscalls();

  /// Makes one call. The value is the kernel's: negative errno included. Error only if the thread could not be driven.
  Result<int64_t> call(long number, std::array<uint64_t, 6> arguments);
  /// The same, with a negative result turned into an error that names `what`.
  Result<uint64_t> checked(const char* what, long number, std::array<uint64_t, 6> arguments);
  /// Threads and processes that the calls created (the kernel attached them: PTRACE_O_TRACEFORK, _TRACEVFORK, _TRACECLONE).
  std::vector<pid_t> take_created();

 private:
  RemoteSyscalls(TracedThread& thread, uint64_t address) : thread_(&thread), address_(address) {}
  TracedThread* thread_;
  uint64_t address_;
  user_regs_struct saved_{};
  uint64_t saved_mask_ = 0;
  std::vector<pid_t> created_;
};

/// What adds any number of calls to a batch calls this after each few: it runs them when there is room for few more.
using MakeRoom = std::function<Result<void>()>;

/// A list of system calls that run in one go: from a small stub page in the target, which stops at the first error or after the last.
class SyscallBatch {
 public:
  static constexpr size_t kCallCapacity = 512;
  static constexpr size_t kDataBytes = 96 * 1024;
  /// Bytes of memory (readable, writable, executable) that the stub needs in the target.
  static constexpr size_t kStubBytes = 4096 + kCallCapacity * 64 + kDataBytes;

  /// `stub`: address of that memory in the target.
  explicit SyscallBatch(uint64_t stub) : stub_(stub) {}

  /// Adds a call; `what` (static or kept by the caller through run()) names it in an error.
  void add(std::string what, long number, std::array<uint64_t, 6> arguments);
  /// As add(), but an error result does not stop the batch.
  void add_tolerant(long number, std::array<uint64_t, 6> arguments);
  /// Puts bytes where the target can read and write them; returns their address there (8-byte aligned).
  uint64_t add_data(std::span<const std::byte> bytes);
  uint64_t add_string(const std::string& text);
  template <typename T>
  uint64_t add_value(const T& value) {
    return add_data(std::as_bytes(std::span(&value, 1)));
  }
  bool nearly_full() const;
  bool empty() const { return calls_.empty(); }

  /// Writes the stub's code (once for an address space).
  static Result<void> install(int process_memory, uint64_t stub);
  /// Runs the calls in `thread` (which stays stopped in the stub) and clears the list. Returns the results.
  Result<std::vector<int64_t>> run(TracedThread& thread, int process_memory);
  /// Threads that the calls created, in order (the kernel attached them).
  std::vector<pid_t> take_created() { return std::exchange(created_, {}); }

 private:
  struct Call {
    uint64_t number;
    std::array<uint64_t, 6> arguments;
    int64_t result;
  };
  static_assert(sizeof(Call) == 64);
  uint64_t stub_;
  std::vector<Call> calls_;
  std::vector<std::string> names_;
  std::vector<std::byte> data_;
  std::vector<pid_t> created_;
};

}  // namespace perdure
