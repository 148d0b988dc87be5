#include "posix/half_done_transfer.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <numeric>

#include "base/bytes.h"
#include "linux/process.h"
#include "linux/remote_userfaultfd.h"
#include "linux/restart.h"

namespace perdure::posix {

namespace {

/// What one continuation needs to know; rbp points to it.
struct Data {
  uint64_t rbx, rbp, r12, rsi, rdx, r10, r8, r9, rip;  ///< as the program knows them
  uint64_t vector_end;                                 ///< behind the elements that come after the one in rsi and rdx
  uint32_t number;                                     ///< of the call that moves the rest
  uint32_t entered_number;                             ///< of the call that the program made
};
static_assert(offsetof(Data, vector_end) == 72 && offsetof(Data, number) == 80);

/// Shared by all: moves one element after the other, the next of which rbx points to, adding up what is done in r12.
constexpr std::array<uint8_t, 80> kCode{
    0x0f, 0x05,              // start: syscall
    0x48, 0x85, 0xc0,        //        test %rax, %rax
    0x78, 0x1e,              //        js leave
    0x49, 0x01, 0xc4,        //        add %rax, %r12
    0x48, 0x39, 0xd0,        //        cmp %rdx, %rax
    0x72, 0x16,              //        jb leave
    0x48, 0x3b, 0x5d, 0x48,  // next:  cmp vector_end(%rbp), %rbx
    0x73, 0x10,              //        jae leave
    0x48, 0x8b, 0x33,        //        mov (%rbx), %rsi
    0x48, 0x8b, 0x53, 0x08,  //        mov 8(%rbx), %rdx
    0x48, 0x83, 0xc3, 0x10,  //        add $16, %rbx
    0x8b, 0x45, 0x50,        //        mov number(%rbp), %eax
    0xeb, 0xdb,              //        jmp start
    0x4c, 0x89, 0xe0,        // leave: mov %r12, %rax
    0x48, 0x8b, 0x5d, 0x00,  //        mov rbx(%rbp), %rbx
    0x4c, 0x8b, 0x65, 0x10,  //        mov r12(%rbp), %r12
    0x48, 0x8b, 0x75, 0x18,  //        mov rsi(%rbp), %rsi
    0x48, 0x8b, 0x55, 0x20,  //        mov rdx(%rbp), %rdx
    0x4c, 0x8b, 0x55, 0x28,  //        mov r10(%rbp), %r10
    0x4c, 0x8b, 0x45, 0x30,  //        mov r8(%rbp), %r8
    0x4c, 0x8b, 0x4d, 0x38,  //        mov r9(%rbp), %r9
    0x48, 0x8b, 0x4d, 0x40,  //        mov rip(%rbp), %rcx  (a system call leaves its return address there)
    0x48, 0x8b, 0x6d, 0x08,  //        mov rbp(%rbp), %rbp
    0xff, 0xe1,              //        jmp *%rcx
};
constexpr uint64_t kBehindCall = 2, kAdd = 7, kNext = 15, kTaken = 21, kLeave = 37, kResultSet = 40;

constexpr uint64_t kTransferLimit = 0x7ffff000;  // MAX_RW_COUNT: the kernel transfers no more in one call

/// The end of the last page of the vDSO, but for the part that is used to begin tracking.
VdsoRoom room() {
  static const VdsoRoom found = find_vdso_room();
  return {found.offset, found.size - std::min(found.size, kRemoteUserfaultfdBytes)};
}

template <typename T>
Result<std::vector<T>> read_array(int process_memory, uint64_t address, uint64_t count, uint64_t limit) {
  std::vector<T> values(std::min(count, limit));
  if (!values.empty()) TRY(read_memory(process_memory, address, std::as_writable_bytes(std::span(values))));
  return values;
}

Result<std::vector<UserBuffer>> read_vector(int process_memory, uint64_t address, uint64_t count) {
  constexpr uint64_t kElementsMax = 1024;  // UIO_MAXIOV
  std::vector<UserBuffer> buffers;
  for (const iovec& element : TRY(read_array<iovec>(process_memory, address, count, kElementsMax))) {
    buffers.push_back({reinterpret_cast<uint64_t>(element.iov_base), element.iov_len});
  }
  return buffers;
}

Result<std::optional<WantedTransfer>> bytes_in(std::vector<UserBuffer> buffers) {
  const auto add = [](uint64_t sum, const UserBuffer& buffer) { return sum + buffer.size; };
  const uint64_t size = std::accumulate(buffers.begin(), buffers.end(), uint64_t{0}, add);
  return WantedTransfer{WantedTransfer::Unit::bytes, std::min(size, kTransferLimit), std::move(buffers)};
}

/// The vector of a message, which the program keeps in its own memory.
Result<UserBuffer> vector_of_message(int process_memory, uint64_t address) {
  const auto message = TRY(read_array<msghdr>(process_memory, address, 1, 1));
  return UserBuffer{reinterpret_cast<uint64_t>(message.front().msg_iov), message.front().msg_iovlen};
}

/// Where the vector of the call lies, and how many elements it has.
Result<UserBuffer> vector_of(const user_regs_struct& registers, int process_memory) {
  if (registers.orig_rax == SYS_writev) return UserBuffer{registers.rsi, registers.rdx};
  return vector_of_message(process_memory, registers.rsi);
}

/// What recvmsg(2) would tell besides: nothing, as a stream never does. Only what it received before could say more, and that is told already.
Result<void> finish_message(int process_memory, const user_regs_struct& entered) {
  msghdr message = TRY(read_array<msghdr>(process_memory, entered.rsi, 1, 1)).front();
  if (message.msg_name != nullptr) message.msg_namelen = 0;
  message.msg_controllen = 0;
  message.msg_flags = static_cast<int>(entered.rdx) & MSG_CMSG_CLOEXEC;
  return write_memory(process_memory, entered.rsi, std::as_bytes(std::span(&message, 1)));
}

/// The first element that is not done goes into the registers, the others are left in the program's vector.
Result<void> aim_at_rest(int process_memory, uint64_t done, user_regs_struct& registers, Data& data) {
  const UserBuffer vector = TRY(vector_of(registers, process_memory));
  const auto buffers = TRY(read_vector(process_memory, vector.address, vector.size));
  size_t at = 0;
  while (at < buffers.size() && done >= buffers[at].size) done -= buffers[at++].size;
  if (at == buffers.size()) return failure("a transfer that is half done has nothing left to transfer");
  registers.rsi = buffers[at].address + done;
  registers.rdx = buffers[at].size - done;
  registers.rbx = vector.address + (at + 1) * sizeof(iovec);
  data.vector_end = vector.address + buffers.size() * sizeof(iovec);
  return {};
}

/// By which calls the rest is moved, with which arguments.
Result<void> prepare_rest(int process_memory, uint64_t done, user_regs_struct& registers, Data& data) {
  registers.rbx = data.vector_end = 0;
  const auto flags = registers.rdx;
  switch (registers.orig_rax) {
    case SYS_sendfile:  // where it goes on, the kernel keeps itself: in the offset argument, or in the file
      registers.r10 -= done;
      return {};
    case SYS_sendmmsg:
    case SYS_recvmmsg:
      registers.rsi += done * sizeof(mmsghdr);
      registers.rdx -= done;
      return {};
    case SYS_writev:
      data.number = SYS_write;
      return aim_at_rest(process_memory, done, registers, data);
    case SYS_recvmsg: TRY(finish_message(process_memory, registers)); [[fallthrough]];
    case SYS_sendmsg:
      data.number = registers.orig_rax == SYS_sendmsg ? SYS_sendto : SYS_recvfrom;
      TRY(aim_at_rest(process_memory, done, registers, data));
      registers.r10 = flags;
      registers.r8 = registers.r9 = 0;
      return {};
    default:
      registers.rsi += done;
      registers.rdx -= done;
      return {};
  }
}

}  // namespace

Result<std::optional<WantedTransfer>> wanted_transfer(const user_regs_struct& registers, int process_memory) {
  using Unit = WantedTransfer::Unit;
  switch (registers.orig_rax) {
    case SYS_recvfrom:
      if ((registers.r10 & MSG_WAITALL) == 0) return std::optional<WantedTransfer>{};
      [[fallthrough]];
    case SYS_write:
    case SYS_sendto: return bytes_in({{registers.rsi, registers.rdx}});
    case SYS_recvmsg:
      if ((registers.rdx & MSG_WAITALL) == 0) return std::optional<WantedTransfer>{};
      [[fallthrough]];
    case SYS_sendmsg:
    case SYS_writev: {
      const UserBuffer vector = TRY(vector_of(registers, process_memory));
      return bytes_in(TRY(read_vector(process_memory, vector.address, vector.size)));
    }
    case SYS_sendfile: return WantedTransfer{Unit::file_bytes, std::min<uint64_t>(registers.r10, kTransferLimit), {}};
    case SYS_recvmmsg:
      if ((registers.r10 & MSG_WAITFORONE) != 0) return std::optional<WantedTransfer>{};
      [[fallthrough]];
    case SYS_sendmmsg: return WantedTransfer{Unit::messages, static_cast<uint32_t>(registers.rdx), {}};
    default: return std::optional<WantedTransfer>{};
  }
}

Result<std::vector<std::vector<UserBuffer>>> message_buffers(const user_regs_struct& registers, int process_memory) {
  constexpr uint64_t kMessagesMax = 1024;  // UIO_MAXIOV
  std::vector<std::vector<UserBuffer>> buffers;
  for (const mmsghdr& message : TRY(read_array<mmsghdr>(process_memory, registers.rsi, static_cast<uint32_t>(registers.rdx), kMessagesMax))) {
    const msghdr& header = message.msg_hdr;
    buffers.push_back(TRY(read_vector(process_memory, reinterpret_cast<uint64_t>(header.msg_iov), header.msg_iovlen)));
  }
  return buffers;
}

uint64_t continuation_count() { return (room().size - std::min<uint64_t>(room().size, kCode.size())) / sizeof(Data); }

std::optional<uint64_t> continuation_address(uint64_t vdso, uint64_t slot) {
  if (vdso == 0 || slot >= continuation_count()) return std::nullopt;
  return vdso + room().offset + kCode.size() + slot * sizeof(Data);
}

bool is_in_continuation(uint64_t vdso, uint64_t instruction_pointer) {
  const uint64_t code = vdso + room().offset;
  return vdso != 0 && continuation_count() != 0 && instruction_pointer >= code && instruction_pointer < code + kCode.size();
}

Result<user_regs_struct> write_continuation(int process_memory, uint64_t vdso, uint64_t address, const HalfDoneTransfer& transfer) {
  const user_regs_struct& entered = transfer.entered;
  const auto number = static_cast<uint32_t>(entered.orig_rax);
  Data data{entered.rbx, entered.rbp, entered.r12, entered.rsi, entered.rdx, entered.r10, entered.r8, entered.r9, entered.rip, 0, number, number};
  user_regs_struct registers = entered;
  TRY(prepare_rest(process_memory, transfer.done, registers, data));
  registers.rbp = address;
  registers.r12 = transfer.done;
  registers.rip = vdso + room().offset;
  registers.rax = data.number;
  registers.orig_rax = ~0ull;
  TRY(write_memory(process_memory, vdso + room().offset, std::as_bytes(std::span(kCode))));
  TRY(write_memory(process_memory, address, std::as_bytes(std::span(&data, 1))));
  return registers;
}

Result<ContinuedTransfer> continued_transfer(int process_memory, uint64_t vdso, const user_regs_struct& registers) {
  const uint64_t inside = registers.rip - (vdso + room().offset);
  Data data;
  TRY(read_memory(process_memory, registers.rbp, std::as_writable_bytes(std::span(&data, 1))));
  ContinuedTransfer result;
  uint64_t& done = result.transfer.done;
  done = registers.r12;
  const auto value = static_cast<int64_t>(registers.rax);
  const bool in_call = inside == 0 || (inside == kBehindCall && static_cast<int64_t>(registers.orig_rax) >= 0 &&
                                       (value == -ENOSYS || (value <= kRestartSys && value >= kRestartBlock)));
  if (!in_call && inside < kNext) {
    if (inside <= kAdd && value > 0) done += registers.rax;
    result.finished = value < 0 || registers.rax < registers.rdx;
  }
  if (!in_call && inside < kTaken) result.finished |= registers.rbx >= data.vector_end;
  if (inside >= kLeave) result.finished = true;
  if (inside >= kResultSet) done = registers.rax;
  user_regs_struct& entered = result.transfer.entered;
  entered = registers;
  entered.rbx = data.rbx;
  entered.rbp = data.rbp;
  entered.r12 = data.r12;
  entered.rsi = data.rsi;
  entered.rdx = data.rdx;
  entered.r10 = data.r10;
  entered.r8 = data.r8;
  entered.r9 = data.r9;
  entered.rip = data.rip;
  entered.orig_rax = data.entered_number;
  if (result.finished) entered.rax = done;
  return result;
}

}  // namespace perdure::posix
