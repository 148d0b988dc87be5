#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <set>

#include "base/clock.h"
#include "posix/blocked_syscall.h"
#include "posix/half_done_transfer.h"
#include "posix/scheduling.h"
#include "posix/thread_state.h"
#include "restore/rebuild.h"

namespace perdure::restore {

namespace {

constexpr uint64_t kThreadFlags =
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

Result<void> adopt_threads(BareProcess& process, const std::vector<pid_t>& created,
                           std::span<const posix::Thread* const> wanted) {
  if (created.size() != wanted.size()) return failure(fmt::format("process {}: not every thread was created", process.record->pid()));
  for (size_t i = 0; i < created.size(); ++i) {
    auto thread = TracedThread::adopt(created[i]);
    if (!TRY(thread.wait_for_stop(kBirthTimeoutNs))) return failure("a new thread died at once");
    process.threads.emplace(wanted[i]->tid(), std::move(thread));
  }
  return {};
}

/// How many of them, from the first on, have the same default timer slack.
size_t born_alike(std::span<const posix::Thread* const> threads) {
  const auto other = std::ranges::find_if(threads, [&](const posix::Thread* thread) {
    return thread->default_timer_slack_ns() != threads.front()->default_timer_slack_ns();
  });
  return static_cast<size_t>(other - threads.begin());
}

/// Brings the thread to an interrupt stop, the one place from which the kernel restarts an interrupted system call by its registers.
Result<void> rest_before_user_mode(TracedThread& thread) {
  TRY(thread.interrupt());
  const int status = TRY(thread.resume_and_wait(PTRACE_CONT));
  if (status >> 16 != PTRACE_EVENT_STOP) return failure(fmt::format("thread {} did not come to rest (status {:x})", thread.tid(), status));
  return {};
}

}  // namespace

Result<void> create_threads(BareProcess& process, posix::RestoreContext& context) {
  const auto threads = context.tree.threads(process.record->pid());
  if (threads.empty() || threads.front()->tid() != process.record->pid()) {
    return failure(fmt::format("the checkpoint lacks the main thread of process {}", process.record->pid()));
  }
  constexpr size_t kThreadsPerBatch = 256;
  for (auto others = std::span(threads).subspan(1); !others.empty();) {
    const auto some = others.first(std::min(born_alike(others), kThreadsPerBatch));
    others = others.subspan(some.size());
    const auto slack = TRY(posix::SlackAtBirth::lend(process.leader.tid(), *some.front()));
    SyscallBatch batch(process.stub);
    for (const posix::Thread* thread : some) {
      clone_args arguments{};
      arguments.flags = kThreadFlags;
      arguments.set_tid = batch.add_value(pid_t{thread->tid()});
      arguments.set_tid_size = 1;
      batch.add(fmt::format("create thread {}", thread->tid()), SYS_clone3, {batch.add_value(arguments), sizeof arguments});
    }
    TRY(batch.run(process.leader, process.memory.get()));
    TRY(adopt_threads(process, batch.take_created(), some));
  }
  return {};
}

namespace {

/// A registration forgets the critical section that the thread is in, so that this is the time to abort it, as the kernel would have done.
Result<void> note_abort_address(BareProcess& process, const posix::Thread& thread) {
  if (thread.rseq_address() == 0) return {};
  constexpr uint64_t kSectionOffset = 8;  // struct rseq: rseq_cs
  struct Section {
    uint32_t version, flags;
    uint64_t start, size, abort;
  } section{};
  uint64_t address = 0;
  TRY(read_memory(process.memory.get(), thread.rseq_address() + kSectionOffset, std::as_writable_bytes(std::span(&address, 1))));
  if (address == 0) return {};
  TRY(read_memory(process.memory.get(), address, std::as_writable_bytes(std::span(&section, 1))));
  constexpr int kInstructionPointer = offsetof(user_regs_struct, rip) / sizeof(uint64_t);
  if (thread.registers_size() > kInstructionPointer && thread.registers(kInstructionPointer) - section.start < section.size) {
    process.abort_addresses[thread.tid()] = section.abort;
  }
  return {};
}

}  // namespace

Result<void> rebuild_attributes(BareProcess& process, posix::RestoreContext& context) {
  SyscallBatch batch(process.stub);
  const int memory = process.memory.get();
  const auto threads = context.tree.threads(process.record->pid());
  const auto room_in = [&](TracedThread& task) {
    return [&, task = &task]() -> Result<void> {
      if (batch.nearly_full()) TRY(batch.run(*task, memory));
      return {};
    };
  };
  TRY(posix::add_process_attributes(batch, *process.record, context));
  TRY(batch.run(process.leader, memory));
  for (const posix::Thread* thread : threads) {
    const bool leader = thread->tid() == process.record->pid();
    TracedThread& task = leader ? process.leader : process.threads.at(thread->tid());
    TRY(note_abort_address(process, *thread));
    TRY(posix::add_thread_attributes(batch, *thread, room_in(task)));
    TRY(batch.run(task, memory));
    TRY(posix::set_scheduling(task.tid(), *thread));
  }
  TRY(posix::add_process_signals(batch, *process.record, context, room_in(process.leader)));
  TRY(batch.run(process.leader, memory));
  TRY(posix::set_process_limits(process.host_pid, *process.record));
  TRY(posix::set_core_dump_filter(process.host_pid, *TRY(context.tree.address_space(process.record->address_space()))));
  for (const posix::Thread* thread : threads) {
    const bool leader = thread->tid() == process.record->pid();
    TracedThread& task = leader ? process.leader : process.threads.at(thread->tid());
    posix::add_thread_credentials(batch, *thread);
    TRY(batch.run(task, memory));
  }
  TRY(posix::add_mm_attributes(batch, *process.record, context));
  TRY(batch.run(process.leader, memory));
  return {};
}

namespace {

TracedThread& thread_of(BareProcess& process, const posix::Thread& thread) {
  return thread.tid() == process.record->pid() ? process.leader : process.threads.at(thread.tid());
}

/// The stub's last instruction makes the kernel reset SIGTRAP, which therefore comes last and by itself.
Result<void> restore_trap_handler(BareProcess& process, posix::RestoreContext& context, uint64_t vdso_syscall_offset) {
  const auto& handlers = *TRY(context.tree.signal_handlers(process.record->signal_handlers()));
  for (const auto& action : handlers.actions()) {
    if (action.signal() != SIGTRAP) continue;
    const std::array<uint64_t, 4> value{action.handler(), action.flags(), action.restorer(), action.mask()};
    TRY(write_memory(process.memory.get(), process.stub, std::as_bytes(std::span(value))));
    auto remote = TRY(RemoteSyscalls::begin(process.leader, process.vdso + vdso_syscall_offset));
    TRY(remote.checked("set the disposition of SIGTRAP", SYS_rt_sigaction, {SIGTRAP, process.stub, 0, 8}));
  }
  return {};
}

/// Enters a call with what is left of its timeout, and leaves it at once: the kernel then keeps its deadline by itself, and takes it up again
/// with every register as the program had set it. The registers that the thread goes on with.
Result<user_regs_struct> enter_with_deadline(BareProcess& process, TracedThread& task, const user_regs_struct& wanted,
                                             const posix::DeadlineCall& call, uint64_t vdso_syscall_offset) {
  if (!call.time_argument.empty()) TRY(write_memory(process.memory.get(), process.stub, std::as_bytes(std::span(call.time_argument))));
  user_regs_struct registers = posix::with_time_argument(wanted, call, process.stub);
  registers.rip = process.vdso + vdso_syscall_offset;
  registers.rax = wanted.orig_rax;
  registers.orig_rax = ~0ull;
  TRY(task.set_registers(registers));
  constexpr int kSyscallStop = SIGTRAP | 0x80;
  constexpr int kStopsMax = 8;
  bool entered = false;
  for (int stop = 0; stop < kStopsMax; ++stop) {
    const int status = TRY(task.resume_and_wait(PTRACE_SYSCALL));
    if (status >> 16 != 0 || WSTOPSIG(status) != kSyscallStop) continue;
    if (std::exchange(entered, true)) return posix::after_deadline_call(wanted, TRY(task.registers()).rax);
    TRY(task.interrupt());
  }
  return failure(fmt::format("thread {} did not come back from a system call", task.tid()));
}

/// What a sendfile(2) has sent, the kernel would have told when the call ended.
Result<void> advance_source(BareProcess& process, TracedThread& task, const user_regs_struct& entered, uint64_t bytes, uint64_t vdso_syscall_offset) {
  if (entered.rdx != 0) {
    uint64_t position = 0;
    TRY(read_memory(process.memory.get(), entered.rdx, std::as_writable_bytes(std::span(&position, 1))));
    position += bytes;
    return write_memory(process.memory.get(), entered.rdx, std::as_bytes(std::span(&position, 1)));
  }
  auto remote = TRY(RemoteSyscalls::begin(task, process.vdso + vdso_syscall_offset));
  TRY(remote.checked("advance the file that a half-done sendfile(2) reads", SYS_lseek, {entered.rsi, bytes, SEEK_CUR}));
  return {};
}

/// The registers with which a thread goes on; what else its call needs is put in place.
Result<user_regs_struct> prepare_to_go_on(BareProcess& process, TracedThread& task, const posix::Thread& thread, uint64_t vdso_syscall_offset,
                                          std::set<uint64_t>& continuations) {
  user_regs_struct registers = TRY(posix::resume_registers(thread, process.host_pid));
  if (const auto call = posix::deadline_call(thread)) return enter_with_deadline(process, task, registers, *call, vdso_syscall_offset);
  if (!thread.has_blocked() || thread.blocked().done() == 0) return registers;
  if (thread.blocked().ahead_bytes() != 0) TRY(advance_source(process, task, registers, thread.blocked().ahead_bytes(), vdso_syscall_offset));
  const auto occupied = [&](uint64_t address) { return continuations.contains(address); };
  const posix::HalfDoneTransfer transfer{registers, thread.blocked().done(), process.host_pid};
  registers = TRY(posix::continue_transfer(process.memory.get(), process.vdso, transfer, occupied));
  continuations.insert(registers.rbp);
  return registers;
}

}  // namespace

Result<void> finish_threads(BareProcess& process, posix::RestoreContext& context, uint64_t vdso_syscall_offset) {
  TRY(restore_trap_handler(process, context, vdso_syscall_offset));
  const auto threads = context.tree.threads(process.record->pid());
  std::set<uint64_t> continuations;
  std::map<int, user_regs_struct> registers;
  for (const posix::Thread* thread : threads) {
    TracedThread& task = thread_of(process, *thread);
    TRY(rest_before_user_mode(task));
    posix::Thread late = *thread;
    if (late.has_blocked() && late.blocked().remaining_ns() > 0) {
      late.mutable_blocked()->set_remaining_ns(std::max<int64_t>(late.blocked().remaining_ns() - TRY(context.elapsed_ns()), 0));
    }
    registers[thread->tid()] = TRY(prepare_to_go_on(process, task, late, vdso_syscall_offset, continuations));
  }
  {
    auto remote = TRY(RemoteSyscalls::begin(process.leader, process.vdso + vdso_syscall_offset));
    TRY(remote.checked("remove the stub", SYS_munmap, {process.stub, align_up(SyscallBatch::kStubBytes, kPageSize)}));
    process.stub = 0;
  }
  for (const posix::Thread* thread : threads) {
    TracedThread& task = thread_of(process, *thread);
    TRY(rest_before_user_mode(task));
    if (process.record->leader_exited() && thread->tid() == process.record->pid()) continue;  // it has only its end before it
    TRY(task.set_xstate(std::as_bytes(std::span(thread->xsave()))));
    if (const auto abort = process.abort_addresses.find(thread->tid()); abort != process.abort_addresses.end()) {
      registers.at(thread->tid()).rip = abort->second;
    }
    TRY(task.set_registers(registers.at(thread->tid())));
    TRY(task.set_signal_mask(thread->signal_mask()));
  }
  return {};
}

}  // namespace perdure::restore
