#include "posix/blocked_syscall.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <span>

#include "base/clock.h"
#include "linux/process.h"

namespace perdure::posix {

namespace {

constexpr size_t kRegisterCount = sizeof(user_regs_struct) / sizeof(uint64_t);
constexpr int64_t kNsPerMs = 1'000'000;

}  // namespace

TimeoutArgument relative_timeout_of(uint64_t number, const uint64_t arguments[6]) {
  using Form = TimeoutArgument::Form;
  switch (number) {
    case SYS_poll: return {Form::milliseconds, 2};
    case SYS_epoll_wait:
    case SYS_epoll_pwait: return {Form::milliseconds, 3};
    case SYS_epoll_pwait2: return {Form::timespec_pointer, 3};
    case SYS_ppoll: return {Form::timespec_pointer, 2};
    case SYS_pselect6: return {Form::timespec_pointer, 4};
    case SYS_select: return {Form::timeval_pointer, 4};
    case SYS_nanosleep: return {Form::timespec_pointer, 0};
    case SYS_clock_nanosleep:
      // A CPU-time clock stands still while its threads sleep, which is all that can be said from outside.
      if ((arguments[1] & TIMER_ABSTIME) != 0 || static_cast<int32_t>(arguments[0]) < 0) return {};
      if (arguments[0] == CLOCK_PROCESS_CPUTIME_ID || arguments[0] == CLOCK_THREAD_CPUTIME_ID) return {};
      return {Form::timespec_pointer, 2};
    case SYS_recvmmsg: return {Form::timespec_pointer, 4};
    case SYS_io_getevents: return {Form::timespec_pointer, 4};
    case SYS_rt_sigtimedwait: return {Form::timespec_pointer, 2};
    case SYS_semtimedop: return {Form::timespec_pointer, 3};
    case SYS_futex:
      return (arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAIT ? TimeoutArgument{Form::timespec_pointer, 3} : TimeoutArgument{};
    default: return {};
  }
}

Result<bool> is_to_be_made_again(const user_regs_struct& registers, int process_memory) {
  if (registers.rax != registers.orig_rax) return false;
  constexpr std::array<uint8_t, kSystemCallBytes> kSystemCall{0x0f, 0x05};
  std::array<uint8_t, kSystemCallBytes> instruction{};
  TRY(read_memory(process_memory, registers.rip, std::as_writable_bytes(std::span(instruction))));
  return instruction == kSystemCall;
}

bool returns_eintr_when_stopped(uint64_t number) {
  // Those of reading, writing and sockets do so where the socket has a timeout, and for inotify.
  static constexpr std::array<long, 25> kCalls{
      SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_semtimedop, SYS_semop,    SYS_rt_sigtimedwait, SYS_io_getevents, SYS_io_pgetevents, SYS_read,
      SYS_write,      SYS_readv,       SYS_writev,       SYS_preadv2,    SYS_pwritev2, SYS_recvfrom,        SYS_recvmsg,      SYS_recvmmsg,      SYS_sendto,
      SYS_sendmsg,    SYS_sendmmsg,    SYS_accept,       SYS_accept4,    SYS_connect,  SYS_splice,          SYS_sendfile};
  return std::ranges::find(kCalls, static_cast<long>(number)) != kCalls.end();
}

namespace {

/// Calls that a handler with SA_RESTART does not interrupt: they return ERESTARTSYS where others of their kind return EINTR.
bool restarts_after_handler(uint64_t number) {
  static constexpr std::array<long, 34> kCalls{
      SYS_read,    SYS_write,   SYS_readv,    SYS_writev,   SYS_pread64,     SYS_pwrite64, SYS_preadv,  SYS_pwritev, SYS_recvfrom,
      SYS_recvmsg, SYS_sendto,  SYS_sendmsg,  SYS_recvmmsg, SYS_sendmmsg,    SYS_accept,   SYS_accept4, SYS_connect, SYS_wait4,
      SYS_waitid,  SYS_futex,   SYS_flock,    SYS_fcntl,    SYS_open,        SYS_openat,   SYS_ioctl,   SYS_splice,  SYS_tee,
      SYS_sendfile, SYS_mq_timedsend, SYS_mq_timedreceive, SYS_vmsplice, SYS_getrandom, SYS_preadv2, SYS_pwritev2};
  return std::ranges::find(kCalls, static_cast<long>(number)) != kCalls.end();
}

}  // namespace

std::optional<int64_t> interrupted_result(const user_regs_struct& registers) {
  if (static_cast<int64_t>(registers.orig_rax) < 0) return std::nullopt;
  switch (static_cast<int64_t>(registers.rax)) {
    case -ENOSYS: return restarts_after_handler(registers.orig_rax) ? kRestartSys : kRestartNoHandler;
    case kRestartBlock: return kRestartNoHandler;
    case kRestartSys:
    case kRestartNoInterrupt:
    case kRestartNoHandler: return static_cast<int64_t>(registers.rax);
    default: return std::nullopt;
  }
}

namespace {

unsigned long long& argument_register(user_regs_struct& registers, int argument) {
  unsigned long long* const arguments[6] = {&registers.rdi, &registers.rsi, &registers.rdx, &registers.r10, &registers.r8, &registers.r9};
  return *arguments[argument];
}

TimeoutArgument timeout_of(const user_regs_struct& registers) {
  return relative_timeout_of(registers.orig_rax, call_arguments(registers).values);
}

int64_t rounded_up_ms(int64_t ns) { return std::min<int64_t>((ns + kNsPerMs - 1) / kNsPerMs, INT_MAX); }

/// Unlike /proc/PID/mem, this does not write where the program itself could not.
bool write_as_program(pid_t pid, uint64_t address, std::span<const int64_t> words) {
  const iovec from{const_cast<int64_t*>(words.data()), words.size_bytes()};
  const iovec to{reinterpret_cast<void*>(address), words.size_bytes()};
  return process_vm_writev(pid, &from, 1, &to, 1, 0) == static_cast<ssize_t>(words.size_bytes());
}

constexpr uint64_t kRemainingMark = 0x6f676e6full << 32;

/// Where a time is put that the program has no place for.
uint64_t time_below_stack(uint64_t stack_pointer) {
  constexpr uint64_t kRedZone = 128;
  return ((stack_pointer - kRedZone) & ~15ull) - sizeof(int64_t[2]);
}

bool writes_back_what_is_left(uint64_t number) { return number == SYS_select || number == SYS_pselect6 || number == SYS_ppoll; }

}  // namespace

CallArguments call_arguments(const user_regs_struct& registers) {
  return {registers.orig_rax, {registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9}, registers.rsp};
}

user_regs_struct with_remaining_timeout(const user_regs_struct& registers, int64_t remaining_ns, pid_t host_pid) {
  user_regs_struct changed = registers;
  const TimeoutArgument timeout = timeout_of(registers);
  if (timeout.form == TimeoutArgument::Form::milliseconds) {
    argument_register(changed, timeout.argument) = kRemainingMark | static_cast<uint64_t>(rounded_up_ms(remaining_ns));
  } else if (timeout.form == TimeoutArgument::Form::timespec_pointer) {
    const int64_t time[2] = {remaining_ns / kNanosecondsPerSecond, remaining_ns % kNanosecondsPerSecond};
    const uint64_t address = time_below_stack(registers.rsp);
    if (write_as_program(host_pid, address, time)) argument_register(changed, timeout.argument) = address;
  }
  return changed;
}

bool has_remaining_timeout(const CallArguments& call) {
  const TimeoutArgument timeout = relative_timeout_of(call.number, call.values);
  const uint64_t value = call.values[timeout.argument];
  if (timeout.form == TimeoutArgument::Form::milliseconds) return value >> 32 == kRemainingMark >> 32;
  return timeout.form == TimeoutArgument::Form::timespec_pointer && value == time_below_stack(call.stack_pointer);
}

Result<user_regs_struct> resume_registers(const Thread& thread, pid_t host_pid) {
  if (static_cast<size_t>(thread.registers_size()) != kRegisterCount) {
    return failure(fmt::format("thread {}: the checkpoint's registers are incomplete", thread.tid()));
  }
  user_regs_struct registers{};
  std::memcpy(&registers, thread.registers().data(), sizeof registers);
  if (!thread.has_blocked() || thread.blocked().remaining_ns() < 0 || deadline_call(thread)) return registers;
  const int64_t remaining_ns = thread.blocked().remaining_ns();
  const TimeoutArgument timeout = timeout_of(registers);
  unsigned long long& argument = argument_register(registers, timeout.argument);
  if (timeout.form == TimeoutArgument::Form::milliseconds) {
    argument = static_cast<uint64_t>(rounded_up_ms(remaining_ns));
    return registers;
  }
  if (timeout.form == TimeoutArgument::Form::none) return registers;
  const int64_t unit_ns = timeout.form == TimeoutArgument::Form::timeval_pointer ? 1000 : 1;
  const int64_t time[2] = {remaining_ns / kNanosecondsPerSecond, remaining_ns % kNanosecondsPerSecond / unit_ns};
  if (writes_back_what_is_left(registers.orig_rax) && write_as_program(host_pid, argument, time)) return registers;
  const uint64_t below_stack = time_below_stack(registers.rsp);
  if (!write_as_program(host_pid, below_stack, time)) {
    return failure(fmt::format("thread {}: no room below its stack for the rest of a timeout", thread.tid()));
  }
  argument = below_stack;
  return registers;
}

bool has_socket_timeout(const Thread& thread) {
  user_regs_struct registers{};
  if (!thread.has_blocked() || thread.blocked().remaining_ns() < 0 || static_cast<size_t>(thread.registers_size()) != kRegisterCount) return false;
  std::memcpy(&registers, thread.registers().data(), sizeof registers);
  return timeout_of(registers).form == TimeoutArgument::Form::none;
}

std::optional<DeadlineCall> deadline_call(const Thread& thread) {
  if (!thread.has_blocked() || thread.blocked().remaining_ns() < 0) return std::nullopt;
  const int64_t remaining_ns = thread.blocked().remaining_ns();
  switch (thread.blocked().number()) {
    case SYS_poll: return DeadlineCall{{}, rounded_up_ms(remaining_ns)};
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_futex: return DeadlineCall{{remaining_ns / kNanosecondsPerSecond, remaining_ns % kNanosecondsPerSecond}, 0};
    default: return std::nullopt;
  }
}

user_regs_struct with_time_argument(const user_regs_struct& registers, const DeadlineCall& call, uint64_t address) {
  user_regs_struct changed = registers;
  const TimeoutArgument timeout = timeout_of(registers);
  argument_register(changed, timeout.argument) = call.time_argument.empty() ? static_cast<uint64_t>(call.milliseconds) : address;
  return changed;
}

user_regs_struct after_deadline_call(const user_regs_struct& registers, uint64_t result) {
  user_regs_struct next = registers;
  const auto value = static_cast<int64_t>(result);
  // Neither interrupted: it is over.
  if (value != -EINTR && (value > kRestartSys || value < kRestartBlock)) next.orig_rax = ~0ull;
  next.rax = value == -EINTR ? static_cast<uint64_t>(kRestartNoHandler) : result;
  return next;
}

}  // namespace perdure::posix
