#include "posix/half_done_transfer.h"

#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "base/bytes.h"
#include "linux/process.h"
#include "linux/remote_userfaultfd.h"

namespace perdure::posix {

namespace {

/// What is written: code, whose constants tell how the call was made, and the call's number.
struct [[gnu::packed]] Continuation {
  std::array<uint8_t, 7> call{0x0f, 0x05, 0x48, 0x85, 0xc0, 0x78, 0x0f};  // syscall; test %rax, %rax; js failed
  std::array<uint8_t, 2> load_done{0x48, 0xb9};                             // mov $done, %rcx
  uint64_t done = 0;
  std::array<uint8_t, 5> add{0x48, 0x01, 0xc8, 0xeb, 0x0a};                 // add %rcx, %rax; jmp leave
  std::array<uint8_t, 2> failed{0x48, 0xb8};                                // mov $done, %rax
  uint64_t done_when_failed = 0;
  std::array<uint8_t, 2> load_rdi{0x48, 0xbf};
  uint64_t rdi = 0;
  std::array<uint8_t, 2> load_rsi{0x48, 0xbe};
  uint64_t rsi = 0;
  std::array<uint8_t, 2> load_rdx{0x48, 0xba};
  uint64_t rdx = 0;
  std::array<uint8_t, 2> load_r10{0x49, 0xba};
  uint64_t r10 = 0;
  std::array<uint8_t, 2> load_rcx{0x48, 0xb9};                              // a system call leaves its return address there
  uint64_t rip = 0;
  std::array<uint8_t, 2> leave{0xff, 0xe1};                                 // jmp *%rcx
  std::array<uint8_t, 2> unused{};
  uint64_t number = 0;
};
static_assert(sizeof(Continuation) <= kContinuationBytes);
static_assert(offsetof(Continuation, failed) == 7 + 15 && offsetof(Continuation, load_rdi) == offsetof(Continuation, failed) + 10);

constexpr uint64_t kBehindCall = 2;

/// The end of the last page of the vDSO, but for the part that is used to begin tracking.
VdsoRoom room() {
  static const VdsoRoom found = find_vdso_room();
  return {found.offset, found.size - std::min(found.size, kRemoteUserfaultfdBytes)};
}

bool is_write_at(uint64_t number) { return number == SYS_pwrite64; }

}  // namespace

std::optional<uint64_t> wanted_bytes(uint64_t number, const user_regs_struct& registers) {
  switch (number) {
    case SYS_write:
    case SYS_pwrite64:
    case SYS_sendto: return registers.rdx;
    case SYS_recvfrom:
      if ((registers.r10 & MSG_WAITALL) != 0) return registers.rdx;
      return std::nullopt;
    case SYS_sendfile: return registers.r10;
    default: return std::nullopt;
  }
}

std::optional<uint64_t> continuation_address(uint64_t vdso, int slot) {
  const uint64_t offset = static_cast<uint64_t>(slot) * kContinuationBytes;
  if (vdso == 0 || offset + kContinuationBytes > room().size) return std::nullopt;
  return vdso + room().offset + offset;
}

bool is_in_continuation(uint64_t vdso, uint64_t instruction_pointer) {
  return vdso != 0 && instruction_pointer >= vdso + room().offset && instruction_pointer < vdso + room().offset + room().size;
}

Result<user_regs_struct> write_continuation(int process_memory, uint64_t address, const HalfDoneTransfer& transfer) {
  const user_regs_struct& entered = transfer.entered;
  Continuation continuation;
  continuation.done = continuation.done_when_failed = transfer.done_bytes;
  continuation.rdi = entered.rdi;
  continuation.rsi = entered.rsi;
  continuation.rdx = entered.rdx;
  continuation.r10 = entered.r10;
  continuation.rip = entered.rip;
  continuation.number = entered.orig_rax;
  TRY(write_memory(process_memory, address, std::as_bytes(std::span(&continuation, 1))));
  user_regs_struct registers = entered;
  registers.rip = address;
  registers.rax = entered.orig_rax;
  registers.orig_rax = ~0ull;
  if (entered.orig_rax == SYS_sendfile) {
    // Where it goes on, the kernel keeps itself: in the offset argument, or in the file.
    registers.r10 -= transfer.done_bytes;
    return registers;
  }
  registers.rsi += transfer.done_bytes;
  registers.rdx -= transfer.done_bytes;
  if (is_write_at(entered.orig_rax)) registers.r10 += transfer.done_bytes;
  return registers;
}

Result<ContinuedTransfer> continued_transfer(int process_memory, uint64_t vdso, const user_regs_struct& registers) {
  const uint64_t start = vdso + room().offset;
  const uint64_t inside = (registers.rip - start) % kContinuationBytes;
  Continuation continuation;
  TRY(read_memory(process_memory, registers.rip - inside, std::as_writable_bytes(std::span(&continuation, 1))));
  ContinuedTransfer result;
  result.transfer.done_bytes = continuation.done;
  user_regs_struct& entered = result.transfer.entered;
  entered = registers;
  entered.rdi = continuation.rdi;
  entered.rsi = continuation.rsi;
  entered.rdx = continuation.rdx;
  entered.r10 = continuation.r10;
  entered.rip = continuation.rip;
  entered.orig_rax = continuation.number;
  const auto value = static_cast<int64_t>(registers.rax);
  const bool in_call = inside == 0 || (inside == kBehindCall && static_cast<int64_t>(registers.orig_rax) >= 0 &&
                                       (value == -ENOSYS || (value <= -512 && value >= -516)));
  if (in_call) return result;
  result.finished = true;
  const bool adjusted = (inside > offsetof(Continuation, add) && inside < offsetof(Continuation, failed)) ||
                        inside >= offsetof(Continuation, load_rdi);
  if (!adjusted) entered.rax = value < 0 ? continuation.done : registers.rax + continuation.done;
  return result;
}

}  // namespace perdure::posix
