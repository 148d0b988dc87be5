#include "posix/half_done_transfer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <numeric>

#include "base/bytes.h"
#include "base/fd.h"
#include "linux/process.h"
#include "linux/remote_userfaultfd.h"
#include "linux/restart.h"

namespace perdure::posix {

namespace {

/// How the rest waits for its turn: a call that waits by itself would be taken up again after a handler with SA_RESTART, although the program's call,
/// which has moved something, would return. poll(2) never is.
enum Waiting : uint32_t {
  kInCall = 0,
  kPollBefore = 1,  ///< for pipes, which poll(2) tells exactly of
  kPollAfter = 2,   ///< for sockets: poll(2) asks for more room than a call needs, but nothing less wakes one that sleeps
};

/// What one continuation needs to know; rbp points to it.
struct Data {
  uint64_t rbx, rbp, r12, r13, r14, rdi, rsi, rdx, r10, r8, r9, rip;  ///< as the program knows them
  uint64_t vector_end;  ///< behind the elements that come after the one in r13 and r14
  uint64_t r10_of_call;
  uint16_t number;          ///< of the call that moves the rest
  uint16_t entered_number;  ///< of the call that the program made
  Waiting waiting;
};
static_assert(offsetof(Data, rdi) == 40 && offsetof(Data, rip) == 88 && offsetof(Data, vector_end) == 96 && offsetof(Data, r10_of_call) == 104 &&
              offsetof(Data, number) == 112 && offsetof(Data, waiting) == 116);

}  // namespace

// Shared by all: moves what r13 and r14 say (address and size), then one element after the other, the next of which rbx points to, adding up what
// is done in r12. What poll(2) needs lies below the red zone of the stack.
extern "C" const char perdure_continuation[], perdure_continuation_polled[], perdure_continuation_attempt[], perdure_continuation_called[],
    perdure_continuation_added[], perdure_continuation_reduced[], perdure_continuation_failed[], perdure_continuation_next[],
    perdure_continuation_taken[], perdure_continuation_leave[], perdure_continuation_result[], perdure_continuation_gone[], perdure_continuation_end[];
asm(R"(
  .pushsection .rodata
  .global perdure_continuation, perdure_continuation_polled, perdure_continuation_attempt, perdure_continuation_called, perdure_continuation_added
  .global perdure_continuation_reduced, perdure_continuation_failed, perdure_continuation_next, perdure_continuation_taken
  .global perdure_continuation_leave, perdure_continuation_result, perdure_continuation_gone, perdure_continuation_end
perdure_continuation:
  mov 40(%rbp), %eax
  mov %eax, -144(%rsp)
  movl $4, -140(%rsp)
  lea -144(%rsp), %rdi
  mov $1, %esi
  xor %edx, %edx
  xor %r10d, %r10d
  mov $271, %eax
  syscall
perdure_continuation_polled:
  test %rax, %rax
  js perdure_continuation_leave
  mov 40(%rbp), %rdi
  mov 104(%rbp), %r10
perdure_continuation_attempt:
  mov %r13, %rsi
  mov %r14, %rdx
  movzwl 112(%rbp), %eax
  syscall
perdure_continuation_called:
  test %rax, %rax
  js perdure_continuation_failed
  add %rax, %r12
perdure_continuation_added:
  add %rax, %r13
  sub %rax, %r14
perdure_continuation_reduced:
  je perdure_continuation_next
  cmpl $2, 116(%rbp)
  je perdure_continuation_attempt
  jmp perdure_continuation_leave
perdure_continuation_failed:
  cmp $-11, %rax
  jne perdure_continuation_leave
  cmpl $2, 116(%rbp)
  je perdure_continuation
  jmp perdure_continuation_leave
perdure_continuation_next:
  cmp 96(%rbp), %rbx
  jae perdure_continuation_leave
perdure_continuation_taken:
  mov (%rbx), %r13
  mov 8(%rbx), %r14
  add $16, %rbx
  cmpl $1, 116(%rbp)
  je perdure_continuation
  jmp perdure_continuation_attempt
perdure_continuation_leave:
  mov %r12, %rax
perdure_continuation_result:
  mov 0(%rbp), %rbx
  mov 16(%rbp), %r12
  mov 24(%rbp), %r13
  mov 32(%rbp), %r14
  mov 40(%rbp), %rdi
  mov 48(%rbp), %rsi
  mov 56(%rbp), %rdx
  mov 64(%rbp), %r10
  mov 72(%rbp), %r8
  mov 80(%rbp), %r9
  mov 88(%rbp), %rcx
  mov 8(%rbp), %rbp
perdure_continuation_gone:
  jmp *%rcx
perdure_continuation_end:
  .popsection
)");
static_assert(SYS_ppoll == 271 && POLLOUT == 4 && EAGAIN == 11);

namespace {

/// Whether an offset into the code lies behind one label and before another.
bool is_between(uint64_t inside, const char* first, const char* end) {
  return inside >= static_cast<uint64_t>(first - perdure_continuation) && inside < static_cast<uint64_t>(end - perdure_continuation);
}
std::span<const std::byte> instructions() {
  return std::as_bytes(std::span(perdure_continuation, static_cast<size_t>(perdure_continuation_end - perdure_continuation)));
}

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
  registers.r13 = buffers[at].address + done;
  registers.r14 = buffers[at].size - done;
  registers.rbx = vector.address + (at + 1) * sizeof(iovec);
  data.vector_end = vector.address + buffers.size() * sizeof(iovec);
  return {};
}

/// By which calls the rest is moved, with which arguments.
Result<void> prepare_rest(int process_memory, uint64_t done, user_regs_struct& registers, Data& data) {
  registers.rbx = data.vector_end = 0;
  registers.r13 = registers.rsi;
  registers.r14 = registers.rdx;
  switch (registers.orig_rax) {
    case SYS_sendfile:  // where it goes on, the kernel keeps itself: in the offset argument, or in the file
      data.r10_of_call -= done;
      break;
    case SYS_sendmmsg:
    case SYS_recvmmsg:
      registers.r13 += done * sizeof(mmsghdr);
      registers.r14 -= done;
      break;
    case SYS_writev:
      data.number = SYS_write;
      TRY(aim_at_rest(process_memory, done, registers, data));
      break;
    case SYS_recvmsg: TRY(finish_message(process_memory, registers)); [[fallthrough]];
    case SYS_sendmsg:
      data.number = registers.orig_rax == SYS_sendmsg ? SYS_sendto : SYS_recvfrom;
      TRY(aim_at_rest(process_memory, done, registers, data));
      data.r10_of_call = registers.rdx;
      registers.r8 = registers.r9 = 0;
      break;
    default:
      registers.r13 += done;
      registers.r14 -= done;
  }
  if (data.waiting == kPollAfter) {
    if (data.number == SYS_write) data.r10_of_call = registers.r8 = registers.r9 = 0;
    data.number = SYS_sendto;
    data.r10_of_call |= MSG_DONTWAIT;
  }
  registers.r10 = data.r10_of_call;
  return {};
}

/// What the transfer waits for; `asleep`: see HalfDoneTransfer.
Waiting waiting_for(pid_t host_pid, const user_regs_struct& entered, bool asleep) {
  const uint64_t number = entered.orig_rax;
  const bool sends = number == SYS_write || number == SYS_writev || number == SYS_sendto || number == SYS_sendmsg;
  if (!sends && (number != SYS_sendfile || !asleep)) return kInCall;
  const auto file = duplicate_descriptor_of(host_pid, static_cast<int>(entered.rdi));
  struct stat status {};
  if (!file || ::fstat(file->get(), &status) != 0) return kInCall;
  if (S_ISFIFO(status.st_mode)) return sends ? kPollBefore : kInCall;
  timeval timeout{};
  socklen_t size = sizeof timeout;
  // With a timeout, the call itself is never taken up again.
  if (!S_ISSOCK(status.st_mode) || ::getsockopt(file->get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, &size) != 0) return kInCall;
  if (timeout.tv_sec != 0 || timeout.tv_usec != 0) return kInCall;
  return sends ? kPollAfter : kPollBefore;
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

Result<bool> last_message_is_whole(const user_regs_struct& entered, uint64_t done, int process_memory) {
  if (entered.orig_rax != SYS_sendmmsg || done == 0) return true;
  const uint64_t address = entered.rsi + (done - 1) * sizeof(mmsghdr);
  const mmsghdr message = TRY(read_array<mmsghdr>(process_memory, address, 1, 1)).front();
  const auto whole = TRY(bytes_in(TRY(read_vector(process_memory, reinterpret_cast<uint64_t>(message.msg_hdr.msg_iov), message.msg_hdr.msg_iovlen))));
  return message.msg_len == whole->count;
}

Result<void> take_interruption(pid_t host_pid, const user_regs_struct& entered) {
  if (entered.orig_rax != SYS_recvmmsg) return {};
  const Fd socket = TRY(duplicate_descriptor_of(host_pid, static_cast<int>(entered.rdi)));
  int kept = 0;
  socklen_t size = sizeof kept;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &kept, &size) != 0) return system_error("read the error that a socket keeps");
  return {};
}

uint64_t continuation_count() { return (room().size - std::min<uint64_t>(room().size, instructions().size())) / sizeof(Data); }

std::optional<uint64_t> continuation_address(uint64_t vdso, uint64_t slot) {
  if (vdso == 0 || slot >= continuation_count()) return std::nullopt;
  return vdso + room().offset + instructions().size() + slot * sizeof(Data);
}

bool is_in_continuation(uint64_t vdso, uint64_t instruction_pointer) {
  const uint64_t code = vdso + room().offset;
  return vdso != 0 && continuation_count() != 0 && instruction_pointer >= code && instruction_pointer < code + instructions().size();
}

namespace {

/// As if the first call of the continuation had been interrupted, and no handler had run yet: the kernel makes it, unless a signal has come by
/// then. A thread that came to the call by instructions of its own would have had the handler run before it, and nothing to end its wait.
/// `registers.rip`: the continuation.
Result<void> begin_with_call(int process_memory, user_regs_struct& registers, const Data& data) {
  const bool polls = data.waiting == kPollBefore;
  registers.rip += static_cast<uint64_t>((polls ? perdure_continuation_polled : perdure_continuation_called) - perdure_continuation);
  registers.rax = static_cast<uint64_t>(kRestartNoHandler);
  registers.orig_rax = polls ? SYS_ppoll : data.number;
  if (!polls) {
    registers.rsi = registers.r13;
    registers.rdx = registers.r14;
    return {};
  }
  constexpr uint64_t kBelowRedZone = 144;
  const pollfd polled{.fd = static_cast<int>(data.rdi), .events = POLLOUT, .revents = 0};
  registers.rdi = registers.rsp - kBelowRedZone;
  registers.rsi = 1;
  registers.rdx = registers.r10 = 0;
  return write_memory(process_memory, registers.rdi, std::as_bytes(std::span(&polled, 1)));
}

}  // namespace

Result<user_regs_struct> write_continuation(int process_memory, uint64_t vdso, uint64_t address, const HalfDoneTransfer& transfer) {
  const user_regs_struct& entered = transfer.entered;
  const auto number = static_cast<uint16_t>(entered.orig_rax);
  Data data{entered.rbx, entered.rbp, entered.r12, entered.r13, entered.r14, entered.rdi, entered.rsi, entered.rdx, entered.r10, entered.r8,
            entered.r9,  entered.rip, 0,           entered.r10, number,      number,      waiting_for(transfer.host_pid, entered, transfer.asleep)};
  user_regs_struct registers = entered;
  TRY(prepare_rest(process_memory, transfer.done, registers, data));
  registers.rbp = address;
  registers.r12 = transfer.done;
  registers.rip = vdso + room().offset;
  TRY(begin_with_call(process_memory, registers, data));
  TRY(write_memory(process_memory, vdso + room().offset, instructions()));
  TRY(write_memory(process_memory, address, std::as_bytes(std::span(&data, 1))));
  return registers;
}

namespace {

/// Whether the thread stands in front of a system call of the continuation, or in it.
bool is_in_call(uint64_t inside, const user_regs_struct& registers) {
  const auto value = static_cast<int64_t>(registers.rax);
  const bool unfinished = static_cast<int64_t>(registers.orig_rax) >= 0 && (value == -ENOSYS || (value <= kRestartSys && value >= kRestartBlock));
  const bool behind_call = is_between(inside, perdure_continuation_polled, perdure_continuation_polled + 1) ||
                           is_between(inside, perdure_continuation_called, perdure_continuation_called + 1);
  if (behind_call) return unfinished;
  return is_between(inside, perdure_continuation, perdure_continuation_polled) ||
         is_between(inside, perdure_continuation_attempt, perdure_continuation_called) ||
         is_between(inside, perdure_continuation_taken, perdure_continuation_leave);
}

/// Whether nothing is left to do for a thread that is not in a call; what its last one moved is added to `done`.
bool is_finished(uint64_t inside, const user_regs_struct& registers, const Data& data, uint64_t& done) {
  const auto value = static_cast<int64_t>(registers.rax);
  const bool is_last = registers.rbx >= data.vector_end;
  if (is_between(inside, perdure_continuation_polled, perdure_continuation_attempt)) return value < 0;
  if (is_between(inside, perdure_continuation_next, perdure_continuation_taken)) return is_last;
  if (inside >= static_cast<uint64_t>(perdure_continuation_result - perdure_continuation)) done = registers.rax;
  if (inside >= static_cast<uint64_t>(perdure_continuation_leave - perdure_continuation)) return true;
  if (value < 0) return value != -EAGAIN || data.waiting != kPollAfter;
  if (is_between(inside, perdure_continuation_called, perdure_continuation_added)) done += registers.rax;
  const bool reduced = is_between(inside, perdure_continuation_reduced, perdure_continuation_failed);
  const bool element_done = registers.r14 == (reduced ? 0 : registers.rax);
  return element_done ? is_last : data.waiting != kPollAfter;
}

}  // namespace

Result<ContinuedTransfer> continued_transfer(int process_memory, uint64_t vdso, const user_regs_struct& registers) {
  const uint64_t inside = registers.rip - (vdso + room().offset);
  if (is_between(inside, perdure_continuation_gone, perdure_continuation_end)) {
    ContinuedTransfer gone{{registers, registers.rax}, true};
    gone.transfer.entered.rip = registers.rcx;
    return gone;
  }
  Data data;
  TRY(read_memory(process_memory, registers.rbp, std::as_writable_bytes(std::span(&data, 1))));
  ContinuedTransfer result;
  result.transfer.done = registers.r12;
  result.finished = !is_in_call(inside, registers) && is_finished(inside, registers, data, result.transfer.done);
  user_regs_struct& entered = result.transfer.entered;
  entered = registers;
  entered.rbx = data.rbx;
  entered.rbp = data.rbp;
  entered.r12 = data.r12;
  entered.r13 = data.r13;
  entered.r14 = data.r14;
  entered.rdi = data.rdi;
  entered.rsi = data.rsi;
  entered.rdx = data.rdx;
  entered.r10 = data.r10;
  entered.r8 = data.r8;
  entered.r9 = data.r9;
  entered.rip = data.rip;
  entered.orig_rax = data.entered_number;
  if (result.finished) entered.rax = result.transfer.done;
  return result;
}

}  // namespace perdure::posix
