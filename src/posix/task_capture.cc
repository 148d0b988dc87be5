#include "posix/task_capture.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <map>
#include <set>

#include "linux/group_init.h"
#include "posix/blocked_syscall.h"
#include "posix/extended_state.h"
#include "posix/vm_flags.h"

namespace perdure::posix {

namespace {

constexpr int kDefaultStaticPriority = 120;  // nice 0: include/linux/sched/prio.h
constexpr uint64_t kAtomicFlagNoNewPrivileges = 1;
constexpr int kAtomicFlagsSpeculationShift = 3;  // PFA_SPEC_SSB_DISABLE, the first of five
constexpr uint64_t kAtomicFlagsSpeculationMask = 0x1f;
constexpr uint32_t kMachineCheckPolicySet = 0x80;  // PF_MCE_PROCESS
constexpr uint32_t kMachineCheckKillEarly = 0x08000000;  // PF_MCE_EARLY
constexpr uint32_t kInputOutputFlusher = 0x00080000 | 0x00100000;  // PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE: PR_SET_IO_FLUSHER
constexpr uint32_t kDeadlinePolicy = 6;
constexpr uint64_t kSyscallWorkSeccomp = 1;

std::unexpected<Error> refuse(const ThreadRecord& thread, std::string_view what) {
  return failure(fmt::format("thread {} ({}) {}: this cannot be persisted", thread.brief.tid, thread.comm, what));
}

/// Attributes of one thread.
Result<void> refuse_attributes(const ThreadRecord& thread) {
  const auto refuse = [&](const char* what) { return posix::refuse(thread, what); };
  if ((thread.syscall_work & kSyscallWorkSeccomp) != 0) return refuse("runs under a seccomp filter, which cannot be read back");
  if ((thread.dispatch_selector | thread.dispatch_offset | thread.dispatch_length) != 0) return refuse("uses syscall user dispatch");
  if (thread.io_uring != 0) return refuse("uses io_uring");
  if (thread.mempolicy != 0) return refuse("has a memory policy");
  if (thread.breakpoints != 0) return refuse("has hardware breakpoints");
  if ((thread.brief.flags & kInputOutputFlusher) == kInputOutputFlusher) return refuse("is an I/O flusher (PR_SET_IO_FLUSHER)");
  if (thread.core_cookie != 0) return refuse("shares its core with chosen threads alone (PR_SCHED_CORE)");
  if (thread.shadow_stack_features != 0) return refuse("has a shadow stack");
  if (thread.parent_has_executed != 0) return refuse("ends with another signal than SIGCHLD, and its parent has executed a program since it was created");
  if (thread.io_bitmap != 0) return refuse("has access to I/O ports");
  if (std::ranges::any_of(thread.tls_descriptors, [](uint64_t word) { return word != 0; })) return refuse("uses set_thread_area");
  if (thread.registers.cs != 0x33) return refuse("runs 32-bit code");
  return {};
}

/// What the group's own scaffold has is what every thread starts out with.
Result<void> refuse_foreign_surroundings(const TaskTable& table, const ThreadRecord& thread, const ThreadRecord& shepherd) {
  const auto* own = table.credentials.find(thread.brief.credentials);
  const auto* common = table.credentials.find(shepherd.brief.credentials);
  if (own == nullptr || common == nullptr) return refuse(thread, "has credentials that could not be read");
  if (own->user_namespace != common->user_namespace) return refuse(thread, "has entered another user namespace");
  if (own->thread_keyring != 0 || own->process_keyring != 0) return refuse(thread, "has a keyring");
  if (own->session_keyring != common->session_keyring) return refuse(thread, "has a session keyring of its own");
  const auto* namespaces = table.namespaces.find(thread.brief.nsproxy);
  const auto* expected = table.namespaces.find(shepherd.brief.nsproxy);
  if (namespaces == expected) return {};
  if (namespaces == nullptr || expected == nullptr) return refuse(thread, "has namespaces that could not be read");
  const std::pair<uint32_t NamespacesRecord::*, const char*> kinds[] = {
      {&NamespacesRecord::mount, "mount"}, {&NamespacesRecord::uts, "UTS"}, {&NamespacesRecord::ipc, "IPC"},
      {&NamespacesRecord::network, "network"}, {&NamespacesRecord::cgroup, "cgroup"}, {&NamespacesRecord::time, "time"},
      {&NamespacesRecord::time_for_children, "time"}, {&NamespacesRecord::pid_for_children, "PID"}};
  for (const auto& [field, name] : kinds) {
    if (namespaces->*field != expected->*field) return refuse(thread, fmt::format("has entered another {} namespace", name));
  }
  return {};
}

/// Processes that share what only the threads of one process can be given again, and threads that do not share it.
Result<void> refuse_unusual_sharing(const TaskTable& table) {
  std::map<uint64_t, const ThreadRecord*> space_user;
  std::map<uint64_t, const ThreadRecord*> handlers_user;
  std::map<uint64_t, const ThreadRecord*> context_user;
  std::map<uint64_t, uint64_t> context_of_process;
  for (const ThreadRecord* thread : table.threads) {
    const ThreadBrief& brief = thread->brief;
    if (brief.tgid <= kShepherdPid || brief.exit_state != 0 || brief.mm == 0) continue;
    const auto other_process = [&](auto& users, uint64_t object) {
      return users.try_emplace(object, thread).first->second->brief.signal != brief.signal;
    };
    if (other_process(space_user, brief.mm)) return refuse(*thread, "shares its address space with another process");
    if (other_process(handlers_user, brief.sighand)) return refuse(*thread, "shares its signal handlers with another process");
    if (other_process(context_user, brief.fs)) return refuse(*thread, "shares its working directory with another process");
    if (context_of_process.try_emplace(brief.signal, brief.fs).first->second != brief.fs) {
      return refuse(*thread, "does not share its working directory with its process");
    }
  }
  return {};
}

/// Descriptor tables can be made anew that a process shares with its parent, and those that a thread has for itself.
Result<void> refuse_unusual_tables(const TaskTable& table) {
  std::vector<const ThreadRecord*> users;
  for (const ThreadRecord* thread : table.threads) {
    const ThreadBrief& brief = thread->brief;
    if (brief.tgid > kShepherdPid && brief.exit_state == 0 && brief.files != 0) users.push_back(thread);
  }
  const auto process_tables = main_tables(table);
  std::map<uint64_t, std::map<uint32_t, const ThreadRecord*>> sharers;  // by table, then by process
  for (const ThreadRecord* thread : users) {
    if (process_tables.at(thread->brief.signal) == thread->brief.files) sharers[thread->brief.files].emplace(thread->brief.tgid, thread);
  }
  std::set<uint64_t> own;
  for (const ThreadRecord* thread : users) {
    const uint64_t common = process_tables.at(thread->brief.signal);
    if (common == thread->brief.files) continue;
    const bool shared = sharers.contains(thread->brief.files) || !own.insert(thread->brief.files).second;
    if (shared || sharers[common].size() > 1) return refuse(*thread, "shares a descriptor table with some threads of its process, or with another process, and not with others");
  }
  for (const auto& [address, processes] : sharers) {
    const ThreadRecord* first = nullptr;
    for (const auto& [pid, thread] : processes) {
      const auto* process = table.processes.find(thread->brief.signal);
      if (process != nullptr && processes.contains(process->parent_tgid)) continue;
      if (first != nullptr) return refuse(*thread, "shares its descriptor table with a process that is neither its parent nor its child");
      first = thread;
    }
  }
  return {};
}

}  // namespace

std::map<uint64_t, uint64_t> main_tables(const TaskTable& table) {
  std::map<uint64_t, uint64_t> tables;
  for (const bool leader : {true, false}) {
    for (const ThreadRecord* thread : table.threads) {
      const ThreadBrief& brief = thread->brief;
      if ((brief.tid == brief.tgid) == leader && brief.exit_state == 0 && brief.files != 0) tables.try_emplace(brief.signal, brief.files);
    }
  }
  return tables;
}

user_regs_struct user_registers(const ThreadRecord& thread) {
  user_regs_struct registers{};
  static_assert(sizeof(UserRegisters) == offsetof(user_regs_struct, fs_base));
  std::memcpy(&registers, &thread.registers, sizeof(UserRegisters));
  registers.fs_base = thread.fs_base;
  registers.gs_base = thread.gs_base;
  registers.ds = thread.ds;
  registers.es = thread.es;
  registers.fs = thread.fs;
  registers.gs = thread.gs;
  return registers;
}

namespace {

Credentials credentials_record(const CredentialsRecord& source, bool no_new_privileges) {
  Credentials credentials;
  credentials.set_uid(source.uid);
  credentials.set_euid(source.euid);
  credentials.set_suid(source.suid);
  credentials.set_fsuid(source.fsuid);
  credentials.set_gid(source.gid);
  credentials.set_egid(source.egid);
  credentials.set_sgid(source.sgid);
  credentials.set_fsgid(source.fsgid);
  for (const uint32_t group : supplementary_groups(source)) credentials.add_groups(group);
  credentials.set_inheritable(source.inheritable);
  credentials.set_permitted(source.permitted);
  credentials.set_effective(source.effective);
  credentials.set_bounding(source.bounding);
  credentials.set_ambient(source.ambient);
  credentials.set_securebits(source.securebits);
  credentials.set_no_new_privileges(no_new_privileges);
  return credentials;
}

/// The mask that the program set: some calls sleep with another one.
uint64_t signal_mask_of(const ThreadRecord& thread) {
  if (thread.restore_sigmask != 0) return thread.saved_sigmask;
  const bool asleep = static_cast<int64_t>(thread.registers.ax) == -ENOSYS;
  if (asleep && thread.registers.orig_ax == SYS_rt_sigsuspend) return thread.saved_sigmask;
  return thread.blocked | thread.real_blocked;
}

}  // namespace

Result<void> refuse_what_cannot_be_saved(const TaskTable& table) {
  const ThreadRecord* shepherd = nullptr;
  for (const ThreadRecord* thread : table.threads) {
    if (thread->brief.tgid == kShepherdPid) shepherd = thread;
  }
  for (const ThreadRecord* thread : table.threads) {
    if (thread->brief.tgid <= kShepherdPid || thread->brief.exit_state != 0 || thread->brief.mm == 0) continue;
    TRY(refuse_attributes(*thread));
    if (shepherd != nullptr) TRY(refuse_foreign_surroundings(table, *thread, *shepherd));
    const auto* space = table.address_spaces.find(thread->brief.mm);
    if (space != nullptr && space->local_descriptor_table != 0) return refuse(*thread, "has a local descriptor table (modify_ldt)");
    if (space != nullptr && space->address_tags != 0) return refuse(*thread, "has tags in its addresses (linear address masking)");
  }
  TRY(refuse_unusual_tables(table));
  return refuse_unusual_sharing(table);
}

Result<Thread> thread_record(const ThreadRecord& source, const CredentialsRecord& credentials, const BlockedCall& call) {
  Thread thread;
  thread.set_tid(static_cast<int>(source.brief.tid));
  thread.set_pid(static_cast<int>(source.brief.tgid));
  user_regs_struct registers = user_registers(source);
  if (call.entered) registers = *call.entered;
  else if (static_cast<int64_t>(registers.orig_rax) >= 0) registers.orig_rax = call.number;
  if (const auto interrupted = interrupted_result(registers)) {
    registers.rax = static_cast<uint64_t>(*interrupted);
    BlockedSyscall& blocked = *thread.mutable_blocked();
    blocked.set_number(registers.orig_rax);
    blocked.set_remaining_ns(call.remaining_ns);
    blocked.set_done(call.done);
    blocked.set_ahead_bytes(call.ahead_bytes);
  } else {
    registers.orig_rax = ~0ull;
  }
  const auto* words = reinterpret_cast<const uint64_t*>(&registers);
  for (size_t i = 0; i < sizeof registers / sizeof *words; ++i) thread.add_registers(words[i]);
  const auto extended = TRY(standard_extended_state(extended_state(source), source.extended_user_features, source.pkru));
  thread.set_xsave(extended.data(), extended.size());
  thread.set_signal_mask(signal_mask_of(source));
  thread.set_alternate_stack(source.alternate_stack);
  thread.set_alternate_stack_size(source.alternate_stack_size);
  thread.set_alternate_stack_flags(source.alternate_stack_flags);
  thread.set_robust_list(source.robust_list);
  thread.set_clear_child_tid(source.clear_child_tid);
  thread.set_rseq_address(source.rseq_address);
  thread.set_rseq_size(source.rseq_length);
  thread.set_rseq_signature(source.rseq_signature);
  thread.set_name(source.comm);
  thread.set_nice(static_cast<int>(source.static_priority) - kDefaultStaticPriority);
  thread.set_policy(source.policy);
  thread.set_real_time_priority(source.rt_priority);
  thread.set_reset_on_fork(source.reset_on_fork != 0);
  if (source.cpu_affinity_request != 0) {
    constexpr size_t kMaskBytes = 128;
    thread.set_affinity(source.cpus_allowed, kMaskBytes);
  }
  thread.set_personality(source.personality);
  thread.set_parent_death_signal(static_cast<int>(source.pdeath_signal));
  thread.set_timer_slack_ns(source.timer_slack_ns);
  thread.set_default_timer_slack_ns(source.default_timer_slack_ns);
  thread.set_slice_ns(source.slice_ns);
  if (source.utilization_min != kNotClamped) thread.set_utilization_min(source.utilization_min);
  if (source.utilization_max != kNotClamped) thread.set_utilization_max(source.utilization_max);
  thread.set_shadow_stack_locked(source.shadow_stack_locked);
  thread.set_io_priority(source.io_priority);
  thread.set_speculation(source.atomic_flags >> kAtomicFlagsSpeculationShift & kAtomicFlagsSpeculationMask);
  thread.set_time_stamp_denied(source.time_stamp_denied != 0);
  thread.set_cpuid_denied(source.cpuid_denied != 0);
  if ((source.brief.flags & kMachineCheckPolicySet) != 0) {
    thread.set_machine_check_kill((source.brief.flags & kMachineCheckKillEarly) != 0 ? Thread::kEarly : Thread::kLate);
  }
  if (source.policy == kDeadlinePolicy) {
    thread.mutable_deadline()->set_runtime_ns(source.deadline_runtime_ns);
    thread.mutable_deadline()->set_deadline_ns(source.deadline_ns);
    thread.mutable_deadline()->set_period_ns(source.deadline_period_ns);
    thread.mutable_deadline()->set_flags(source.deadline_flags);
  }
  *thread.mutable_credentials() = credentials_record(credentials, (source.atomic_flags & kAtomicFlagNoNewPrivileges) != 0);
  return thread;
}

void forget_user_memory(Thread& thread) {
  thread.clear_robust_list();
  thread.clear_clear_child_tid();
  thread.clear_rseq_address();
  thread.clear_blocked();
}

void add_pending_signals(const TaskTable& table, uint64_t owner,
                         google::protobuf::RepeatedPtrField<record::PendingSignal>* pending) {
  for (const PendingSignalRecord* source : table.pending_signals) {
    if (source->owner != owner) continue;
    record::PendingSignal& signal = *pending->Add();
    // siginfo_t is 128 bytes to user space, of which the kernel keeps the first 48.
    std::string information(128, '\0');
    std::memcpy(information.data(), source->info, sizeof source->info);
    int number = 0;
    std::memcpy(&number, source->info, sizeof number);
    signal.set_signal(number);
    signal.set_information(std::move(information));
  }
}

namespace {

constexpr uint32_t kTimerSignal = 1;  ///< PendingSignalRecord::flags

bool has_pending_expiry(const TaskTable& table, int timer_id) {
  return std::ranges::any_of(table.pending_signals, [&](const PendingSignalRecord* signal) {
    constexpr size_t kTimerIdOffset = 16;  // siginfo_t::si_timerid
    int id = 0;
    std::memcpy(&id, &signal->info[kTimerIdOffset], sizeof id);
    return (signal->flags & kTimerSignal) != 0 && id == timer_id;
  });
}

/// What is left until a periodic timer's next expiry, when `since_ns` have gone by since one.
int64_t until_next_period_ns(int64_t since_ns, int64_t interval_ns) { return interval_ns - since_ns % interval_ns; }

bool counts_cpu_time(int clock) { return clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID; }

record::PosixTimer posix_timer_record(const TaskTable& table, const ProcessRecord& process, const PosixTimerRecord& source) {
  record::PosixTimer timer;
  timer.set_id(source.id);
  timer.set_clock(source.clock);
  timer.set_notify(static_cast<int>(source.notify));
  timer.set_signal(static_cast<int>(source.signal_number));
  timer.set_value(source.value);
  timer.set_thread(static_cast<int>(source.thread));
  const auto interval_ns = static_cast<int64_t>(source.interval_ns);
  timer.set_interval_ns(interval_ns);
  timer.set_overrun(static_cast<int>(source.overrun));
  if (counts_cpu_time(source.clock)) {
    if (source.cpu_expires_ns == 0) return timer;
    const auto used_ns = static_cast<int64_t>(process.timers_runtime_ns);
    timer.set_remaining_ns(std::max<int64_t>(static_cast<int64_t>(source.cpu_expires_ns) - used_ns, 1));
  } else if (source.active != 0) {
    timer.set_remaining_ns(std::max<int64_t>(source.remaining_ns, 1));
  } else if (interval_ns > 0 && has_pending_expiry(table, source.id)) {
    // It rests until the signal is taken, and then goes on in step.
    timer.set_remaining_ns(until_next_period_ns(-source.remaining_ns, interval_ns));
  }
  return timer;
}

void add_interval_timer(Process& process, int which, int64_t remaining_ns, uint64_t interval_ns) {
  constexpr int64_t kResolutionNs = 1000;
  record::IntervalTimer& timer = *process.add_interval_timers();
  timer.set_which(which);
  timer.set_remaining_ns(std::max(remaining_ns, kResolutionNs));
  timer.set_interval_ns(static_cast<int64_t>(interval_ns));
}

void add_timers(const TaskTable& table, const ProcessRecord& source, Process& process) {
  if (source.real_timer.active != 0) add_interval_timer(process, ITIMER_REAL, source.real_timer.remaining_ns, source.real_timer.interval_ns);
  const auto user_ns = static_cast<int64_t>(source.timers_user_ns);
  const auto total_ns = user_ns + static_cast<int64_t>(source.timers_system_ns);
  if (source.virtual_expires_ns != 0) {
    add_interval_timer(process, ITIMER_VIRTUAL, static_cast<int64_t>(source.virtual_expires_ns) - user_ns, source.virtual_interval_ns);
  }
  if (source.profile_expires_ns != 0) {
    add_interval_timer(process, ITIMER_PROF, static_cast<int64_t>(source.profile_expires_ns) - total_ns, source.profile_interval_ns);
  }
  for (const PosixTimerRecord* timer : table.posix_timers.of(source.signal)) {
    *process.add_posix_timers() = posix_timer_record(table, source, *timer);
  }
  std::ranges::sort(*process.mutable_posix_timers(), {}, [](const record::PosixTimer& timer) { return timer.id(); });
}

}  // namespace

Result<Process> process_record(const TaskTable& table, const ProcessRecord& source, const ThreadRecord& leader) {
  Process process;
  process.set_pid(static_cast<int>(source.tgid));
  process.set_parent_pid(static_cast<int>(source.parent_tgid));
  process.set_process_group(static_cast<int>(source.process_group));
  process.set_session(static_cast<int>(source.session));
  process.set_exit_signal(static_cast<int>(leader.exit_signal));
  process.set_child_subreaper(source.is_child_subreaper != 0);
  process.set_oom_score_adj(source.oom_score_adj);
  process.set_oom_score_adj_min(source.oom_score_adj_min);
  process.set_autogroup_nice(source.autogroup_nice);
  process.set_name(leader.comm);
  constexpr uint32_t kSignalStopStopped = 1;  // SIGNAL_STOP_STOPPED
  process.set_stopped((source.flags & kSignalStopStopped) != 0);
  if (process.stopped()) process.set_stop_signal(static_cast<int>(source.group_exit_code));
  for (const auto& limit : source.resource_limits) {
    ResourceLimit& saved = *process.add_limits();
    saved.set_soft(limit[0]);
    saved.set_hard(limit[1]);
  }
  add_timers(table, source, process);
  add_pending_signals(table, source.signal, process.mutable_pending());
  return process;
}

SignalHandlers signal_handlers_record(const SignalHandlersRecord& source) {
  SignalHandlers handlers;
  int signal = 0;
  for (const auto& action : source.actions) {
    ++signal;
    if (action.handler == 0 && action.flags == 0 && action.mask == 0) continue;
    record::SignalAction& saved = *handlers.add_actions();
    saved.set_signal(signal);
    saved.set_handler(action.handler);
    saved.set_flags(action.flags);
    saved.set_restorer(action.restorer);
    saved.set_mask(action.mask);
  }
  return handlers;
}

AddressSpace address_space_record(const AddressSpaceRecord& source) {
  AddressSpace space;
  space.set_start_code(source.start_code);
  space.set_end_code(source.end_code);
  space.set_start_data(source.start_data);
  space.set_end_data(source.end_data);
  space.set_start_brk(source.start_brk);
  space.set_brk(source.brk);
  space.set_start_stack(source.start_stack);
  space.set_arg_start(source.arg_start);
  space.set_arg_end(source.arg_end);
  space.set_env_start(source.env_start);
  space.set_env_end(source.env_end);
  size_t words = 0;
  // Pairs up to AT_NULL, itself included.
  while (words + 1 < std::size(source.auxiliary_vector) && source.auxiliary_vector[words] != 0) words += 2;
  space.set_auxv(source.auxiliary_vector, (words + 2) * sizeof(uint64_t));
  constexpr uint64_t kDumpableMask = 3;
  constexpr uint64_t kMergeAny = 1ull << 30;     // MMF_VM_MERGE_ANY
  constexpr int kCoreDumpFilterShift = 2;        // MMF_DUMP_FILTER_SHIFT, and as many bits as MMF_DUMP_FILTER_BITS says
  constexpr uint64_t kCoreDumpFilterMask = 0x1ff;
  space.set_dumpable(static_cast<int>(source.flags & kDumpableMask));
  constexpr uint32_t kThpExceptAdvised = 2;  // PR_THP_DISABLE_EXCEPT_ADVISED
  space.set_thp_disabled(source.thp_disabled != 0);
  space.set_thp_when_advised((source.thp_disabled & kThpExceptAdvised) != 0);
  space.set_merge_any((source.flags & kMergeAny) != 0);
  space.set_core_dump_filter(static_cast<uint32_t>(source.flags >> kCoreDumpFilterShift & kCoreDumpFilterMask));
  space.set_membarrier(source.membarrier_state);
  if (source.futex_slots != kNoFutexSlots) space.set_futex_slots(source.futex_slots);
  space.set_protection_keys(static_cast<uint32_t>(source.protection_keys));
  space.set_lock_future((source.default_vm_flags & vm_flags::kLocked) != 0);
  space.set_lock_future_on_fault((source.default_vm_flags & vm_flags::kLockOnFault) != 0);
  // MMF_HAS_MDWE and MMF_HAS_MDWE_NO_INHERIT stand for PR_MDWE_REFUSE_EXEC_GAIN and PR_MDWE_NO_INHERIT.
  constexpr int kWriteExecuteDenied = 28;
  constexpr int kWriteExecuteNotInherited = 29;
  space.set_write_execute_denied((source.flags >> kWriteExecuteDenied & 1) | (source.flags >> kWriteExecuteNotInherited & 1) << 1);
  return space;
}

}  // namespace perdure::posix
