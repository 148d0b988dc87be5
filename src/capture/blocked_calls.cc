// The system calls that threads are blocked in: how far they have come, and until when they sleep.
#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>

#include "base/clock.h"
#include "capture/internal.h"
#include "linux/process.h"
#include "posix/blocked_syscall.h"
#include "posix/half_done_transfer.h"

namespace perdure::capture {

namespace {

/// Where a sendfile(2) began to read: its offset argument, or its file's position, are as they were.
Result<uint64_t> source_position(const posix::ThreadRecord& thread, int process_memory) {
  uint64_t position = thread.file_wait.source_position;
  const uint64_t argument = thread.registers.dx;
  if (argument != 0) TRY(read_memory(process_memory, argument, std::as_writable_bytes(std::span(&position, 1))));
  return position;
}

}  // namespace

/// How far the transfer has come that a thread sleeps in.
Result<Capturer::Progress> Capturer::progress_of(const posix::ThreadRecord& thread) {
  if (thread.brief.file_wait != posix::kMendedWait && thread.brief.file_wait != posix::kDelicateWait) return Progress{};
  const user_regs_struct registers = posix::user_registers(thread);
  const Fd memory = TRY(open_process_memory(static_cast<pid_t>(thread.brief.host_tid)));
  const auto wanted = TRY(posix::wanted_transfer(registers, memory.get()));
  if (!wanted) return Progress{};
  switch (wanted->unit) {
    case posix::WantedTransfer::Unit::bytes: return Progress{TRY(collector_.transferred_bytes(thread, wanted->buffers)).value_or(0), 0};
    case posix::WantedTransfer::Unit::file_bytes: {
      const auto sent = TRY(collector_.spliced_bytes(thread, wanted->count, TRY(source_position(thread, memory.get()))));
      if (sent) return Progress{*sent, *sent};
      break;
    }
    case posix::WantedTransfer::Unit::messages: {
      const auto messages = TRY(posix::message_buffers(registers, memory.get()));
      if (const auto done = TRY(messages_done(thread, messages))) return Progress{*done, 0};
      break;
    }
  }
  // Only the call itself knows, and tells when it is interrupted.
  expect_to_wake({&thread.brief.task, 1});
  return passing_failure("a thread sleeps in a transfer of which nobody knows how far it has come", Retry::at_once);
}

/// The messages before the one that the thread sleeps in; absent when the stack does not tell which that is.
Result<std::optional<uint64_t>> Capturer::messages_done(const posix::ThreadRecord& thread, std::span<const std::vector<posix::UserBuffer>> messages) {
  std::optional<uint64_t> found;
  for (size_t number = 0; number < messages.size(); ++number) {
    const auto progress = TRY(collector_.transferred_bytes(thread, messages[number]));
    if (!progress) continue;
    if (found) return std::optional<uint64_t>{};
    if (*progress != 0) return passing_failure("a thread is half way in a message of sendmmsg(2) or recvmmsg(2)", Retry::later);
    found = number;
  }
  return found;
}

/// What is left of the timeout that the socket imposes on the call of a thread; -1 without. `in_continuation`: see half_done_transfer.h.
Result<int64_t> Capturer::socket_remaining_ns(const posix::ThreadRecord& thread, int64_t now_ns, bool in_continuation) {
  const user_regs_struct registers = posix::user_registers(thread);
  if (thread.brief.file_wait != posix::kNoFileWait) {
    return sleeps_.socket_remaining_ns(thread.brief, TRY(collector_.remaining_wait_ns(thread)), in_continuation, now_ns);
  }
  if (in_continuation || posix::interrupted_result(registers)) return sleeps_.stopped_in_call(thread.brief, now_ns);
  sleeps_.end_socket_wait(thread.brief);
  return -1;
}

/// A thread that goes on with a half-done transfer is saved as the program knows it: in the call that it made.
Result<std::optional<posix::BlockedCall>> Capturer::continued_call(const posix::TaskTable& tasks, const posix::ThreadRecord& thread, int64_t now_ns) {
  const auto* space = tasks.address_spaces.find(thread.brief.mm);
  if (space == nullptr || !posix::is_in_continuation(space->vdso, thread.registers.ip)) return std::optional<posix::BlockedCall>{};
  const Fd memory = TRY(open_process_memory(static_cast<pid_t>(thread.brief.host_tid)));
  auto continued = TRY(posix::continued_transfer(memory.get(), space->vdso, posix::user_registers(thread)));
  user_regs_struct& entered = continued.transfer.entered;
  posix::BlockedCall call;
  call.number = entered.orig_rax;
  if (continued.finished) {
    entered.orig_rax = ~0ull;
  } else {
    entered.rax = static_cast<uint64_t>(posix::kRestartSys);
    const Progress progress = TRY(progress_of(thread));
    call.done = continued.transfer.done + progress.done;
    call.ahead_bytes = progress.ahead_bytes;
    call.remaining_ns = TRY(socket_remaining_ns(thread, now_ns, true));
  }
  call.entered = entered;
  return call;
}

/// What each thread is blocked in. In a process all of whose half-done transfers could not go on after a restore none is saved.
Result<void> Capturer::read_calls(PausedState& state) {
  std::map<uint64_t, uint64_t> half_done;  // by mm
  for (const posix::ThreadRecord* thread : state.tasks.threads) {
    if (is_scaffold(thread->brief) || is_dead(thread->brief)) continue;
    auto continued = TRY(continued_call(state.tasks, *thread, state.now_ns));
    const auto& call = state.calls[thread->brief.task] = continued ? *continued : TRY(blocked_call(*thread, state.now_ns));
    if (call.done != 0 && ++half_done[thread->brief.mm] > posix::continuation_count()) {
      return passing_failure(fmt::format("process {} has more than {} transfers that are half done", thread->brief.tgid, posix::continuation_count()),
                             Retry::later);
    }
  }
  return {};
}

/// A thread outside of any call may be on its way back into one, whose time goes on.
posix::BlockedCall Capturer::call_to_be_made(const posix::ThreadRecord& thread, int64_t now_ns) {
  posix::BlockedCall call;
  if (!sleeps_.is_about_to_take_up(thread.brief)) {
    sleeps_.end_socket_wait(thread.brief);
    return call;
  }
  user_regs_struct entered = posix::user_registers(thread);
  entered.rip += kSystemCallBytes;
  entered.orig_rax = entered.rax;
  entered.rax = static_cast<uint64_t>(posix::kRestartNoHandler);
  call.number = entered.orig_rax;
  call.remaining_ns = sleeps_.stopped_in_call(thread.brief, now_ns);
  call.entered = entered;
  return call;
}

/// A call that was interrupted and taken up again runs under the name of restart_syscall(2): restart_block tells which it is, and its deadline.
Result<posix::BlockedCall> Capturer::blocked_call(const posix::ThreadRecord& thread, int64_t now_ns) {
  const auto& registers = thread.registers;
  if (static_cast<int64_t>(registers.orig_ax) < 0) return call_to_be_made(thread, now_ns);
  const bool restarted = registers.orig_ax == SYS_restart_syscall || static_cast<int64_t>(registers.ax) == posix::kRestartBlock;
  if (!restarted) {
    const bool asleep = static_cast<int64_t>(registers.ax) == -ENOSYS;
    int64_t remaining_ns = sleeps_.remaining_ns(thread.brief, posix::call_arguments(posix::user_registers(thread)), asleep, now_ns);
    if (remaining_ns < 0) remaining_ns = TRY(socket_remaining_ns(thread, now_ns, false));
    const Progress progress = TRY(progress_of(thread));
    return posix::BlockedCall{registers.orig_ax, remaining_ns, progress.done, progress.ahead_bytes, {}};
  }
  // The kernel keeps the deadline on the machine's own clock.
  const int64_t machine_now_ns = now_ns - own_clock_offsets_.monotonic_ns;
  const auto left_ns = [&](int64_t expires_ns) { return std::max<int64_t>(expires_ns - machine_now_ns, 0); };
  switch (TRY(collector_.restart_function(thread))) {
    case posix::RestartFunction::none:  // a futex wait forgets its function as soon as it is taken up again, and nothing else does
      if (thread.restart_arguments[0] != registers.di) break;
      [[fallthrough]];
    case posix::RestartFunction::futex_wait: {
      const uint64_t arguments[6] = {registers.di, registers.si, registers.dx, registers.r10, registers.r8, registers.r9};
      const bool relative = posix::relative_timeout_of(SYS_futex, arguments).form != posix::TimeoutArgument::Form::none;
      return posix::BlockedCall{SYS_futex, relative ? left_ns(static_cast<int64_t>(thread.restart_arguments[3])) : -1, 0, 0, {}};
    }
    case posix::RestartFunction::poll: {
      const int64_t end_ns = static_cast<int64_t>(thread.restart_arguments[2]) * kNanosecondsPerSecond + static_cast<int64_t>(thread.restart_arguments[3]);
      const bool has_timeout = thread.restart_arguments[1] >> 32 != 0;
      return posix::BlockedCall{SYS_poll, has_timeout ? left_ns(end_ns) : -1, 0, 0, {}};
    }
    case posix::RestartFunction::nanosleep: {
      // The first argument is a pointer for the one, a small number for the other.
      constexpr uint64_t kLowestPointer = 4096;
      const bool by_clock = static_cast<int32_t>(registers.di) < static_cast<int32_t>(kLowestPointer) && registers.di < kLowestPointer;
      return posix::BlockedCall{by_clock ? uint64_t{SYS_clock_nanosleep} : uint64_t{SYS_nanosleep},
                                left_ns(static_cast<int64_t>(thread.restart_arguments[2])), 0, 0, {}};
    }
    default: break;
  }
  return failure(fmt::format("thread {} sleeps on a CPU-time or alarm clock in a way that cannot be persisted", thread.brief.tid));
}

}  // namespace perdure::capture
