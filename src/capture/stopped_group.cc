#include "capture/stopped_group.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/clock.h"
#include "linux/group_init.h"
#include "linux/process.h"
#include "posix/blocked_syscall.h"
#include "posix/half_done_transfer.h"

namespace perdure::capture {

namespace {

// include/linux/sched.h
constexpr uint32_t kTaskInterruptible = 0x1;
constexpr uint32_t kTaskStopped = 0x4;
constexpr uint32_t kTaskTraced = 0x8;
constexpr uint32_t kTaskParked = 0x40;
constexpr uint32_t kTaskExiting = 0x4;  // PF_EXITING
constexpr useconds_t kUninterruptibleStepUs = 100;
/// For as long what is still on its way to a stop is awaited, to be mended there.
constexpr int64_t kMendPatienceNs = 1'000'000'000;
/// For as long the rest of the group stands still for one thread that cannot: what takes longer is left to the next epoch.
constexpr int64_t kUninterruptiblePatienceNs = 3'000'000;

/// For how long a thread is let be that runs in such a call.
int64_t transfer_patience_ns(const posix::ThreadBrief& thread) {
  constexpr int64_t kWhenMendedNs = 100'000;
  constexpr int64_t kWhenDelicateNs = 10'000'000;
  if (thread.file_wait == posix::kDelicateWait) return kWhenDelicateNs;
  return thread.file_wait == posix::kMendedWait ? kWhenMendedNs : 0;
}

enum class Condition { runs, asleep, stopped, uninterruptible };

/// Whether a signal waits whose handler may run now: what it interrupts is then the program's own affair.
Result<bool> has_signal(const TracedThread& thread) {
  const std::string status = TRY(read_file(fmt::format("/proc/{}/status", thread.tid())));
  const auto set = [&](const char* field) {
    const size_t at = status.find(field);
    return at == std::string::npos ? 0 : std::strtoull(&status[at + std::strlen(field)], nullptr, 16);
  };
  return ((set("SigPnd:") | set("ShdPnd:")) & ~set("SigBlk:")) != 0;
}

Condition condition_of(const posix::ThreadBrief& thread) {
  // A thread on its way out can be neither stopped nor saved: it is gone in a moment.
  if ((thread.flags & kTaskExiting) != 0) return Condition::uninterruptible;
  if (thread.state == 0) return Condition::runs;
  if (thread.state & (kTaskTraced | kTaskStopped | kTaskParked)) return Condition::stopped;
  if ((thread.state & kTaskInterruptible) && thread.runnable != 0) return Condition::runs;
  // A sleeper outside of a system call waits within a page fault: it cannot be taken up again there.
  if ((thread.state & kTaskInterruptible) && static_cast<int64_t>(thread.orig_ax) >= 0) return Condition::asleep;
  return Condition::uninterruptible;
}

}  // namespace

bool is_scaffold(const posix::ThreadBrief& thread) {
  return thread.tgid == kInitPid || thread.tgid == kShepherdPid;
}

bool is_live_init(const posix::ThreadBrief& thread) {
  return thread.tgid == kInitPid && !is_dead(thread) && (thread.flags & kTaskExiting) == 0;
}

bool is_dead(const posix::ThreadBrief& thread) { return thread.exit_state != 0; }

bool can_be_stopped(const posix::ThreadBrief& thread) {
  const Condition condition = condition_of(thread);
  return thread.ptrace == 0 && (condition == Condition::runs || condition == Condition::asleep);
}

StoppedGroup StoppedGroup::nobody(posix::Collector& collector, const Options& options) { return StoppedGroup(collector, options); }

StoppedGroup::~StoppedGroup() {
  if (options_.patience != nullptr) options_.patience->disarm();
  const auto has_stopped = [](TracedThread* thread) { return thread->look() != TracedThread::Sight::runs; };
  // Where the group could not be brought to rest, some of its threads are stopped, or will be, all the same.
  for (const Pace pace;; pace.step()) {
    std::erase_if(awaited_, has_stopped);
    give_back_stopped();
    if (awaited_.empty() || pace.waited_ns() > kMendPatienceNs) break;
  }
  awaited_.clear();
  give_back_stopped();
}

/// Lets go of all but those that are awaited.
void StoppedGroup::give_back_stopped() {
  std::vector<TracedThread> held;
  for (auto at = stopped_.begin(); at != stopped_.end();) {
    auto& [task, thread] = *at;
    if (std::ranges::find(awaited_, &thread) != awaited_.end()) {
      ++at;
      continue;
    }
    (void)mend_once(task, thread);
    return_to_signal(task, thread);
    held.push_back(std::move(thread));
    at = stopped_.erase(at);
  }
  for (TracedThread& thread : detach_all(std::move(held))) options_.exited->push_back(std::move(thread));
}

TracedThread* StoppedGroup::traced(uint64_t task) {
  const auto found = stopped_.find(task);
  return found == stopped_.end() || found->second.gone() ? nullptr : &found->second;
}

/// Once a sleeper is interrupted, nobody can tell when its socket's timeout would have ended.
Result<void> StoppedGroup::note_deadline(const posix::ThreadBrief& thread) {
  if (thread.file_wait != posix::kDelicateWait || options_.sleeps->knows_socket_wait(thread)) return {};
  const auto tasks = TRY(collector_->tasks());
  for (const posix::ThreadRecord* record : tasks.threads) {
    if (record->brief.task != thread.task || record->brief.nvcsw != thread.nvcsw) continue;
    options_.sleeps->socket_remaining_ns(record->brief, TRY(collector_->remaining_wait_ns(*record)), false, monotonic_ns());
  }
  return {};
}

Result<void> StoppedGroup::interrupt(const posix::ThreadBrief& thread) {
  TRY(note_deadline(thread));
  const unsigned long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXIT | (options_.kill_with_supervisor ? PTRACE_O_EXITKILL : 0);
  options_.patience->arm(kUninterruptiblePatienceNs);
  auto seized = TracedThread::seize(static_cast<pid_t>(thread.host_tid), options, static_cast<pid_t>(thread.host_tgid));
  if (!seized) {
    if (seized.error().error_number == EINTR) return passing_failure("a process executes another program", Retry::at_once);
    // It died since it was looked at, or is about to be: it comes up again as what it is then.
    if (seized.error().error_number == ESRCH || seized.error().error_number == EPERM) return {};
    return failure(fmt::format("thread {} of the group cannot be stopped: {}", thread.tid, seized.error().message()));
  }
  TRY(seized->interrupt());
  interrupted_.insert_or_assign(thread.task, thread);
  unmended_.insert(thread.task);
  shares_processor_ |= static_cast<int>(thread.cpu) == sched_getcpu();
  awaited_.push_back(&stopped_.insert_or_assign(thread.task, std::move(*seized)).first->second);
  return {};
}

namespace {

std::unexpected<Error> uninterruptible(const posix::ThreadBrief& thread) {
  return passing_failure(fmt::format("thread {} is in an uninterruptible sleep (system call {})", thread.tid, static_cast<int64_t>(thread.orig_ax)),
                         Retry::later);
}

}  // namespace

/// One that ran may have gone to where no interrupt reaches it, to wait for a vfork child that is stopped itself.
Result<void> StoppedGroup::refuse_uninterruptible() const {
  for (const posix::ThreadBrief& thread : TRY(collector_->tasks_brief())) {
    const bool awaited = std::ranges::any_of(awaited_, [&](const auto* other) { return other->tid() == static_cast<pid_t>(thread.host_tid); });
    if (awaited && !is_dead(thread) && condition_of(thread) == Condition::uninterruptible) return uninterruptible(thread);
  }
  return {};
}

/// In whatever order they stop: one that executes a program or exits waits for others of its process to be let go.
Result<void> StoppedGroup::await_stops() {
  options_.patience->disarm();
  for (const Pace pace(shares_processor_);; pace.step()) {
    bool renumbered = false;
    std::erase_if(awaited_, [&](TracedThread* thread) {
      const pid_t tid = thread->tid();
      const auto sight = thread->look();
      renumbered |= !thread->gone() && thread->tid() != tid;
      return sight != TracedThread::Sight::runs;
    });
    if (renumbered) return passing_failure("a process executes another program", Retry::at_once);
    if (awaited_.empty()) return {};
    if (pace.waited_ns() > kUninterruptiblePatienceNs) TRY(refuse_uninterruptible());
    // One that is held up on its way (a long call, a loaded machine) is tried again in a later epoch.
    if (pace.waited_ns() > options_.timeout_ns) {
      return passing_failure(fmt::format("thread {} did not stop", awaited_.front()->tid()), Retry::later);
    }
  }
}

/// What fails is tried once more before the thread is let go.
Result<void> StoppedGroup::mend_once(uint64_t task, TracedThread& thread) {
  if (!unmended_.contains(task)) return {};
  TRY(mend_interrupted_call(task, thread));
  unmended_.erase(task);
  return {};
}

/// Some calls return EINTR to whoever stops them, though no signal came: have the kernel take them up again (it still lets a handler interrupt them).
Result<void> StoppedGroup::mend_interrupted_call(uint64_t task, TracedThread& thread) {
  if (thread.gone()) return {};
  const user_regs_struct registers = TRY(thread.registers());
  if (static_cast<int64_t>(registers.orig_rax) < 0) return {};
  const posix::ThreadBrief& before = interrupted_.at(task);
  if (static_cast<int64_t>(registers.rax) > 0) return continue_transfer(before, thread, registers);
  if (static_cast<int64_t>(registers.rax) != -EINTR) return {};
  if (!posix::returns_eintr_when_stopped(registers.orig_rax)) return {};
  const bool was_asleep = condition_of(before) == Condition::asleep && before.orig_ax == registers.orig_rax;
  const int64_t remaining_ns = options_.sleeps->remaining_ns(before, posix::call_arguments(registers), was_asleep, monotonic_ns());
  if (remaining_ns < 0) return take_up_again(before, thread, registers);
  user_regs_struct changed = posix::with_remaining_timeout(registers, remaining_ns, thread.tid());
  changed.rax = static_cast<uint64_t>(posix::kRestartNoHandler);
  return thread.set_registers(changed);
}

/// A call without a timeout of its own; its socket's may be over.
Result<void> StoppedGroup::take_up_again(const posix::ThreadBrief& before, TracedThread& thread, user_regs_struct registers) {
  if (options_.sleeps->take_up_again(before, monotonic_ns()) != 0) {
    return thread.poke_user(offsetof(user, regs.rax), static_cast<uint64_t>(posix::kRestartNoHandler));
  }
  int error = EAGAIN;
  if (registers.orig_rax == SYS_connect) {
    const auto socket = duplicate_descriptor_of(static_cast<pid_t>(before.host_tgid), static_cast<int>(registers.rdi));
    int domain = 0;
    socklen_t size = sizeof domain;
    // Other families go on connecting.
    if (socket && ::getsockopt(socket->get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain != AF_UNIX) error = EINPROGRESS;
  }
  registers.rax = static_cast<uint64_t>(-error);
  registers.orig_rax = ~0ull;
  return thread.set_registers(registers);
}

/// A transfer that the stop cut short goes on with the rest when the thread is let go.
Result<void> StoppedGroup::continue_transfer(const posix::ThreadBrief& before, TracedThread& thread, const user_regs_struct& registers) {
  const Fd memory = TRY(open_process_memory(thread.tid()));
  if (TRY(posix::is_to_be_made_again(registers, memory.get()))) return {};
  const auto wanted = TRY(posix::wanted_transfer(registers, memory.get()));
  if (!wanted || registers.rax >= wanted->count || TRY(has_signal(thread))) return {};
  if (!TRY(posix::last_message_is_whole(registers, registers.rax, memory.get()))) return {};
  if (options_.sleeps->take_up_again(before, monotonic_ns()) == 0) return {};
  uint64_t vdso = 0;
  for (const auto& mapping : TRY(special_mappings(thread.tid()))) {
    if (mapping.name == "[vdso]") vdso = mapping.start;
  }
  if (wanted->unit == posix::WantedTransfer::Unit::messages) TRY(posix::take_interruption(static_cast<pid_t>(before.host_tgid), registers));
  posix::HalfDoneTransfer transfer{registers, registers.rax};
  if (posix::is_in_continuation(vdso, registers.rip)) {
    const auto continued = TRY(posix::continued_transfer(memory.get(), vdso, registers));
    if (!continued.finished) return {};
    transfer = continued.transfer;
  }
  transfer.host_pid = static_cast<pid_t>(before.host_tgid);
  transfer.asleep = condition_of(before) == Condition::asleep;
  const auto occupied = [&](uint64_t address) {
    return std::ranges::any_of(threads_, [&](const posix::ThreadBrief& other) {
      return static_cast<pid_t>(other.host_tid) != thread.tid() && other.mm == before.mm && other.frame_pointer == address &&
             posix::is_in_continuation(vdso, other.instruction_pointer);
    }) || std::ranges::any_of(continued_, [&](const auto& other) {
      return other.first != thread.tid() && other.second.mm == before.mm && other.second.address == address;
    });
  };
  auto next = posix::continue_transfer(memory.get(), vdso, transfer, occupied);
  // Without room the call returns what it has done: the program sees a short count, as after a signal.
  if (!next) {
    options_.sleeps->end_socket_wait(before);
    return {};
  }
  continued_[thread.tid()] = {before.mm, next->rbp, transfer};
  return thread.set_registers(*next);
}

/// A signal that came while the group stood still finds the call that the program made, which returns what it has done.
void StoppedGroup::return_to_signal(uint64_t task, TracedThread& thread) {
  const auto continued = continued_.find(thread.tid());
  if (thread.gone() || continued == continued_.end()) return;
  if (const auto signalled = has_signal(thread); !signalled || !*signalled) return;
  user_regs_struct registers = continued->second.transfer.entered;
  registers.rax = continued->second.transfer.done;
  registers.orig_rax = ~0ull;
  if (thread.set_registers(registers)) options_.sleeps->end_socket_wait(interrupted_.at(task));
}

Result<StoppedGroup> StoppedGroup::stop(posix::Collector& collector, const Options& options) {
  StoppedGroup group(collector, options);
  const int64_t deadline_ns = monotonic_ns() + options.timeout_ns;
  const int64_t patience_end_ns = monotonic_ns() + kUninterruptiblePatienceNs;
  for (const Pace pace;;) {
    group.threads_ = TRY(collector.tasks_brief());
    remove_foreign(group.threads_, options.foreign, [](const auto& thread) { return thread.signal; });
    const posix::ThreadBrief* busy = nullptr;
    bool interrupted = false, transferring = false;
    for (const posix::ThreadBrief& thread : group.threads_) {
      if (is_scaffold(thread) || is_dead(thread)) continue;
      if (group.traced(thread.task) != nullptr && (thread.state & kTaskTraced)) continue;
      if (thread.ptrace != 0 && !group.stopped_.contains(thread.task)) {
        return failure(fmt::format("thread {} is traced by another process (ptrace): this cannot be persisted", thread.tid));
      }
      const Condition condition = condition_of(thread);
      const bool restless = condition == Condition::asleep && options.restless(thread);
      if (condition == Condition::runs || restless) {
        if (group.traced(thread.task) != nullptr) continue;
        // What it is in the midst of would return short: in a moment it sleeps, or is through with it.
        if (!restless && pace.waited_ns() < transfer_patience_ns(thread)) {
          transferring = true;
          continue;
        }
        TRY(group.interrupt(thread));
        interrupted = true;
      } else if (condition == Condition::uninterruptible) {
        busy = &thread;
      }
    }
    if (!interrupted && !transferring && busy == nullptr) return group;
    const posix::ThreadBrief culprit = busy == nullptr ? posix::ThreadBrief{} : *busy;
    TRY(group.await_stops());
    for (auto& [task, thread] : group.stopped_) TRY(group.mend_once(task, thread));
    if (monotonic_ns() > deadline_ns && busy == nullptr) {
      return passing_failure("the group's threads come and go too fast to be stopped", Retry::later);
    }
    if (transferring && busy == nullptr) pace.step();
    if (busy != nullptr) {
      if (monotonic_ns() > patience_end_ns) return uninterruptible(culprit);
      usleep(kUninterruptibleStepUs);
    }
  }
}

Result<TracedThread*> StoppedGroup::stop_sleeper(const posix::ThreadBrief& thread) {
  TRY(interrupt(thread));
  TRY(await_stops());
  TracedThread* held = traced(thread.task);
  if (held == nullptr) return failure(fmt::format("thread {} exited", thread.tid));
  TRY(mend_once(thread.task, *held));
  return held;
}

Result<std::vector<uint64_t>> StoppedGroup::disturbed() const {
  std::map<uint64_t, const posix::ThreadBrief*> before;
  for (const posix::ThreadBrief& thread : threads_) {
    if (!is_scaffold(thread)) before[thread.task] = &thread;
  }
  std::vector<uint64_t> disturbed;
  for (const posix::ThreadBrief& now : TRY(collector_->tasks_brief())) {
    if (now.tgid == kInitPid && !is_live_init(now)) {
      // Whoever kills init kills the whole group: what is seen of it now is its death, not its state.
      return passing_failure("the group's init is being killed", Retry::later);
    }
    if (is_scaffold(now) || options_.foreign.contains(now.signal)) continue;
    const auto found = before.find(now.task);
    if (found == before.end()) {
      disturbed.push_back(now.task);
      continue;
    }
    const posix::ThreadBrief& then = *found->second;
    before.erase(found);
    if (stopped_.contains(now.task)) {
      // Only a kill ends a stop.
      if ((now.state & kTaskTraced) == 0) disturbed.push_back(now.task);
      continue;
    }
    if (now.nvcsw != then.nvcsw || now.nivcsw != then.nivcsw || now.state != then.state || now.runnable != 0 || now.exit_state != then.exit_state) {
      disturbed.push_back(now.task);
    }
  }
  // Whoever was killed or reaped meanwhile is missing.
  for (const auto& [task, thread] : before) disturbed.push_back(task);
  return disturbed;
}

}  // namespace perdure::capture
