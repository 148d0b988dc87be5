#include "posix/thread_state.h"

#include <asm/prctl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/syscall.h>

#include <array>
#include <cstring>

#include "base/clock.h"
#include "linux/process.h"

namespace perdure::posix {

namespace {

/// struct sigaction as the kernel takes it.
struct KernelSigaction {
  uint64_t handler;
  uint64_t flags;
  uint64_t restorer;
  uint64_t mask;
};

uint64_t word(int64_t value) { return static_cast<uint64_t>(value); }

/// Those of this process, which bare tasks have too.
uint64_t permitted_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  syscall(SYS_capget, &header, data.data());
  return data[0].permitted | uint64_t{data[1].permitted} << 32;
}

/// What is left when the clock has gone on; overdue is due at once.
int64_t less_elapsed(int64_t remaining_ns, int64_t elapsed_ns) {
  constexpr int64_t kSoonNs = 1000;
  return std::max(remaining_ns - elapsed_ns, kSoonNs);
}

itimerval interval_timer_value(const record::IntervalTimer& timer, int64_t elapsed_ns) {
  const auto part = [](int64_t ns) { return timeval{ns / kNanosecondsPerSecond, (ns % kNanosecondsPerSecond) / 1000}; };
  return {part(timer.interval_ns()), part(timer.which() == ITIMER_REAL ? less_elapsed(timer.remaining_ns(), elapsed_ns) : timer.remaining_ns())};
}

void add_posix_timer(SyscallBatch& batch, const record::PosixTimer& timer, int64_t elapsed_ns) {
  sigevent event{};
  event.sigev_notify = timer.notify();
  event.sigev_signo = timer.signal();
  event.sigev_value.sival_ptr = reinterpret_cast<void*>(timer.value());
  event._sigev_un._tid = timer.thread();
  const int id = timer.id();
  batch.add("create a timer", SYS_timer_create, {word(timer.clock()), batch.add_value(event), batch.add_value(id)});
  if (timer.remaining_ns() > 0) {
    const bool cpu_time = timer.clock() < 0 || timer.clock() == CLOCK_PROCESS_CPUTIME_ID || timer.clock() == CLOCK_THREAD_CPUTIME_ID;
    const itimerspec value{to_timespec(timer.interval_ns()), to_timespec(cpu_time ? timer.remaining_ns() : less_elapsed(timer.remaining_ns(), elapsed_ns))};
    batch.add("arm a timer", SYS_timer_settime, {word(id), 0, batch.add_value(value)});
  }
}

constexpr int kTimerCreateRestoreIds = 77;  // PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15
constexpr int kRestoreIdsOn = 1;
constexpr int kRestoreIdsQuery = 2;

/// Timers count from 0: without a way to ask for a number, all below it are drawn first.
Result<int> add_drawn_numbers(SyscallBatch& batch, int next, int wanted, const MakeRoom& make_room) {
  constexpr int kMostDrawn = 64;
  if (wanted - next > kMostDrawn) return failure(fmt::format("timer {} cannot be made on this kernel (Linux 6.15 can)", wanted));
  sigevent event{};
  event.sigev_notify = SIGEV_NONE;
  for (; next < wanted; ++next) {
    batch.add("draw a timer's number", SYS_timer_create, {CLOCK_MONOTONIC, batch.add_value(event), batch.add_value(int{0})});
    batch.add("give a timer back", SYS_timer_delete, {word(next)});
    TRY(make_room());
  }
  return next;
}

Result<void> add_posix_timers(SyscallBatch& batch, const Process& process, int64_t elapsed_ns, const MakeRoom& make_room) {
  if (process.posix_timers().empty()) return {};
  // With it timer_create takes the wanted number from where it would put it.
  const bool by_number = prctl(kTimerCreateRestoreIds, kRestoreIdsQuery, 0, 0, 0) >= 0;
  if (by_number) batch.add("number timers", SYS_prctl, {kTimerCreateRestoreIds, kRestoreIdsOn, 0, 0, 0});
  int next = 0;
  for (const record::PosixTimer& timer : process.posix_timers()) {
    if (!by_number) next = TRY(add_drawn_numbers(batch, next, timer.id(), make_room)) + 1;
    add_posix_timer(batch, timer, elapsed_ns);
    TRY(make_room());
  }
  if (by_number) batch.add("number timers", SYS_prctl, {kTimerCreateRestoreIds, 0, 0, 0, 0});
  return {};
}

/// Which command registers for what: the bits of mm_struct's membarrier_state, and MEMBARRIER_CMD_REGISTER_.
constexpr std::array<std::pair<uint32_t, int>, 4> kMembarrierRegistrations{{{1 << 1, 1 << 4}, {1 << 3, 1 << 2}, {1 << 5, 1 << 6}, {1 << 7, 1 << 8}}};

/// The kernel's flags in the order of its numbers.
enum Speculation : uint32_t { kNoStoreBypass = 1, kNoStoreBypassForGood = 2, kNoIndirectBranch = 4, kNoIndirectBranchForGood = 8, kNoStoreBypassUntilExec = 16 };

void add_speculation(SyscallBatch& batch, uint32_t flags) {
  const auto add = [&](int feature, int control) {
    batch.add("restrict speculation", SYS_prctl, {PR_SET_SPECULATION_CTRL, word(feature), word(control), 0, 0});
  };
  if ((flags & kNoStoreBypassForGood) != 0) add(PR_SPEC_STORE_BYPASS, PR_SPEC_FORCE_DISABLE);
  else if ((flags & kNoStoreBypassUntilExec) != 0) add(PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE_NOEXEC);
  else if ((flags & kNoStoreBypass) != 0) add(PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE);
  if ((flags & kNoIndirectBranchForGood) != 0) add(PR_SPEC_INDIRECT_BRANCH, PR_SPEC_FORCE_DISABLE);
  else if ((flags & kNoIndirectBranch) != 0) add(PR_SPEC_INDIRECT_BRANCH, PR_SPEC_DISABLE);
}

}  // namespace

Result<void> add_thread_attributes(SyscallBatch& batch, const Thread& thread, const MakeRoom& make_room) {
  batch.add("set the thread's name", SYS_prctl, {PR_SET_NAME, batch.add_string(thread.name())});
  if (thread.alternate_stack_size() != 0) {
    stack_t stack{};
    stack.ss_sp = reinterpret_cast<void*>(thread.alternate_stack());
    stack.ss_size = thread.alternate_stack_size();
    stack.ss_flags = static_cast<int>(thread.alternate_stack_flags());
    batch.add("set the alternate stack", SYS_sigaltstack, {batch.add_value(stack), 0});
  }
  if (thread.robust_list() != 0) batch.add("set the robust list", SYS_set_robust_list, {thread.robust_list(), 24});
  batch.add("set clear_child_tid", SYS_set_tid_address, {thread.clear_child_tid()});
  if (thread.rseq_address() != 0) {
    batch.add("register rseq", SYS_rseq, {thread.rseq_address(), thread.rseq_size(), 0, thread.rseq_signature()});
  }
  batch.add("set the personality", SYS_personality, {thread.personality()});
  batch.add_tolerant(SYS_prctl, {PR_SET_TIMERSLACK, thread.timer_slack_ns()});
  if (thread.machine_check_kill() != Thread::kDefault) {
    const int policy = thread.machine_check_kill() == Thread::kEarly ? PR_MCE_KILL_EARLY : PR_MCE_KILL_LATE;
    batch.add("set the machine check policy", SYS_prctl, {PR_MCE_KILL, PR_MCE_KILL_SET, word(policy)});
  }
  add_speculation(batch, thread.speculation());
  if (thread.time_stamp_denied()) batch.add("deny the time stamp counter", SYS_prctl, {PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0});
  constexpr uint64_t kLockShadowStack = 0x5003;  // ARCH_SHSTK_LOCK
  if (thread.shadow_stack_locked() != 0) batch.add("lock shadow stacks", SYS_arch_prctl, {kLockShadowStack, thread.shadow_stack_locked()});
  if (thread.cpuid_denied()) batch.add("deny CPUID", SYS_arch_prctl, {ARCH_SET_CPUID, 0});
  for (const record::PendingSignal& pending : thread.pending()) {
    batch.add("queue a signal", SYS_rt_tgsigqueueinfo,
              {word(thread.pid()), word(thread.tid()), word(pending.signal()),
               batch.add_data(std::as_bytes(std::span(pending.information())))});
    TRY(make_room());
  }
  return {};
}

void add_thread_credentials(SyscallBatch& batch, const Thread& thread) {
  if (!thread.has_credentials()) return;
  const Credentials& wanted = thread.credentials();
  batch.add("keep capabilities", SYS_prctl, {PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP});
  const std::vector<uint32_t> groups(wanted.groups().begin(), wanted.groups().end());
  batch.add("set groups", SYS_setgroups, {groups.size(), batch.add_data(std::as_bytes(std::span(groups)))});
  batch.add("set group ids", SYS_setresgid, {wanted.gid(), wanted.egid(), wanted.sgid()});
  batch.add("set the file system group id", SYS_setfsgid, {wanted.fsgid()});
  for (int capability = 0; capability < 64; ++capability) {
    if ((wanted.bounding() >> capability & 1) == 0) batch.add_tolerant(SYS_prctl, {PR_CAPBSET_DROP, word(capability)});
  }
  batch.add("set user ids", SYS_setresuid, {wanted.uid(), wanted.euid(), wanted.suid()});
  batch.add("set the file system user id", SYS_setfsuid, {wanted.fsuid()});
  if (thread.parent_death_signal() != 0) batch.add("set pdeathsig", SYS_prctl, {PR_SET_PDEATHSIG, word(thread.parent_death_signal())});
  // Ambient capabilities must be permitted and inheritable when they are raised, and securebits need CAP_SETPCAP.
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const auto low = [](uint64_t set) { return static_cast<uint32_t>(set); };
  const auto high = [](uint64_t set) { return static_cast<uint32_t>(set >> 32); };
  const auto add_capset = [&](uint64_t effective, uint64_t permitted) {
    const std::array<__user_cap_data_struct, 2> data{
        {{low(effective), low(permitted), low(wanted.inheritable())}, {high(effective), high(permitted), high(wanted.inheritable())}}};
    batch.add("set capabilities", SYS_capset, {batch.add_value(header), batch.add_value(data)});
  };
  const uint64_t present = permitted_capabilities();
  add_capset(present, present);
  for (int capability = 0; capability < 64; ++capability) {
    if (wanted.ambient() >> capability & 1) {
      batch.add_tolerant(SYS_prctl, {PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, word(capability)});
    }
  }
  batch.add("set securebits", SYS_prctl, {PR_SET_SECUREBITS, wanted.securebits()});
  add_capset(wanted.effective(), wanted.permitted());
  if (wanted.no_new_privileges()) batch.add("set no_new_privs", SYS_prctl, {PR_SET_NO_NEW_PRIVS, 1});
}

Result<void> add_process_attributes(SyscallBatch& batch, const Process& process, RestoreContext& context) {
  const FileSystemContext& directories = *TRY(context.tree.file_system_context(process.file_system_context()));
  // Both paths are as seen from outside of it.
  batch.add("enter the working directory", SYS_chdir, {batch.add_string(directories.working_directory())});
  if (directories.root_directory() != "/") {
    batch.add("change root", SYS_chroot, {batch.add_string(directories.root_directory())});
  }
  batch.add("set umask", SYS_umask, {directories.umask()});
  if (process.child_subreaper()) batch.add("become a subreaper", SYS_prctl, {PR_SET_CHILD_SUBREAPER, 1});
  return {};
}

Result<void> add_process_signals(SyscallBatch& batch, const Process& process, RestoreContext& context, const MakeRoom& make_room) {
  const SignalHandlers& handlers = *TRY(context.tree.signal_handlers(process.signal_handlers()));
  // Bare tasks come with init's dispositions, which are all default. What children have done while they were rebuilt is no news.
  const KernelSigaction ignored{reinterpret_cast<uint64_t>(SIG_IGN), 0, 0, 0};
  batch.add("forget SIGCHLD", SYS_rt_sigaction, {SIGCHLD, batch.add_value(ignored), 0, 8});
  batch.add("forget SIGCHLD", SYS_rt_sigaction, {SIGCHLD, batch.add_value(KernelSigaction{}), 0, 8});
  for (const record::SignalAction& action : handlers.actions()) {
    const KernelSigaction value{action.handler(), action.flags(), action.restorer(), action.mask()};
    batch.add("set a signal's disposition", SYS_rt_sigaction, {word(action.signal()), batch.add_value(value), 0, 8});
  }
  for (const record::PendingSignal& pending : process.pending()) {
    batch.add("queue a signal", SYS_rt_sigqueueinfo,
              {word(process.pid()), word(pending.signal()), batch.add_data(std::as_bytes(std::span(pending.information())))});
    TRY(make_room());
  }
  const int64_t elapsed_ns = TRY(context.elapsed_ns());
  for (const record::IntervalTimer& timer : process.interval_timers()) {
    batch.add("set an interval timer", SYS_setitimer, {word(timer.which()), batch.add_value(interval_timer_value(timer, elapsed_ns)), 0});
  }
  TRY(add_posix_timers(batch, process, elapsed_ns, make_room));
  return {};
}

Result<void> add_mm_attributes(SyscallBatch& batch, const Process& process, RestoreContext& context) {
  const AddressSpace& space = *TRY(context.tree.address_space(process.address_space()));
  batch.add("set dumpable", SYS_prctl, {PR_SET_DUMPABLE, word(space.dumpable() == 1 ? 1 : 0)});
  for (const auto& [state, command] : kMembarrierRegistrations) {
    if ((space.membarrier() & state) != 0) batch.add("register for membarrier", SYS_membarrier, {word(command), 0, 0});
  }
  constexpr int kSetWriteExecuteDenied = 65;  // PR_SET_MDWE
  if (space.write_execute_denied() != 0) {
    batch.add("deny writable code", SYS_prctl, {kSetWriteExecuteDenied, space.write_execute_denied(), 0, 0, 0});
  }
  constexpr int kSetMemoryMerge = 67;  // PR_SET_MEMORY_MERGE
  if (space.merge_any()) batch.add("have memory merged", SYS_prctl, {kSetMemoryMerge, 1, 0, 0, 0});
  constexpr int kFutexHash = 78;  // PR_FUTEX_HASH
  constexpr uint64_t kSetSlots = 1;  // PR_FUTEX_HASH_SET_SLOTS
  if (space.has_futex_slots()) batch.add_tolerant(SYS_prctl, {kFutexHash, kSetSlots, space.futex_slots(), 0, 0});
  constexpr uint64_t kThpExceptAdvised = 2;  // PR_THP_DISABLE_EXCEPT_ADVISED, Linux 6.18
  if (space.thp_disabled()) batch.add("disable THP", SYS_prctl, {PR_SET_THP_DISABLE, 1, space.thp_when_advised() ? kThpExceptAdvised : 0, 0, 0});
  return {};
}

namespace {

/// While it lives, the calling thread does without a capability.
class CapabilityLaidDown {
 public:
  explicit CapabilityLaidDown(int capability) {
    syscall(SYS_capget, &header_, held_.data());
    auto without = held_;
    without[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
    syscall(SYS_capset, &header_, without.data());
  }
  CapabilityLaidDown(const CapabilityLaidDown&) = delete;
  CapabilityLaidDown& operator=(const CapabilityLaidDown&) = delete;
  ~CapabilityLaidDown() { syscall(SYS_capset, &header_, held_.data()); }

 private:
  __user_cap_header_struct header_{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> held_{};
};

/// What somebody writes who may lower it is also how low it may go from then on.
Result<void> set_oom_score_adj(pid_t host_pid, const Process& process) {
  const std::string path = fmt::format("/proc/{}/oom_score_adj", host_pid);
  const std::string wanted = std::to_string(process.oom_score_adj());
  if (!process.has_oom_score_adj_min() || process.oom_score_adj_min() >= process.oom_score_adj()) return write_file(path, wanted);
  // Whoever may not set it has left it as it was for all.
  (void)write_file(path, std::to_string(process.oom_score_adj_min()));
  const CapabilityLaidDown laid_down(CAP_SYS_RESOURCE);
  return write_file(path, wanted);
}

}  // namespace

Result<void> set_process_limits(pid_t host_pid, const Process& process) {
  for (int resource = 0; resource < process.limits_size(); ++resource) {
    const ResourceLimit& limit = process.limits(resource);
    const rlimit64 value{limit.soft(), limit.hard()};
    if (prlimit64(host_pid, static_cast<__rlimit_resource>(resource), &value, nullptr) != 0) {
      return system_error(fmt::format("set resource limit {} of process {}", resource, process.pid()));
    }
  }
  if (process.autogroup_nice() != 0) TRY(write_file(fmt::format("/proc/{}/autogroup", host_pid), std::to_string(process.autogroup_nice())));
  return set_oom_score_adj(host_pid, process);
}

Result<void> set_core_dump_filter(pid_t host_pid, const AddressSpace& space) {
  return write_file(fmt::format("/proc/{}/coredump_filter", host_pid), std::to_string(space.core_dump_filter()));
}

}  // namespace perdure::posix
