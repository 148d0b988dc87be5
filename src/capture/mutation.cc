#include "capture/mutation.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "capture/field_mutation.h"
#include "capture/mutation_parts.h"
#include "posix/vm_flags.h"

namespace perdure::capture {

namespace {

// Threads

void leave_out_threads(ObjectRecords& records) {
  std::erase_if(records, [](const auto& entry) {
    const Object& object = entry.second;
    return object.has_thread() && object.thread().tid() != object.thread().pid();
  });
}

/// Registers that only the program knows of: without its stack pointer and thread pointer, anything would fail.
void leave_out_registers(ObjectRecords& records) {
  constexpr int kZeroed[] = {0, 1, 2, 3, 5, 22};  // r15, r14, r13, r12, rbx, gs_base of struct user_regs_struct
  each_thread(records, [&](posix::Thread& thread) {
    for (const int number : kZeroed) {
      if (number < thread.registers_size()) thread.set_registers(number, 0);
    }
  });
}

/// The state after XRSTOR of an area whose XSTATE_BV is zero.
void leave_out_extended_state(ObjectRecords& records) {
  constexpr size_t kMxcsrOffset = 24;
  each_thread(records, [](posix::Thread& thread) {
    std::string& state = *thread.mutable_xsave();
    std::ranges::fill(state, '\0');
    constexpr std::string_view kControlWord{"\x7f\x03", 2};
    constexpr std::string_view kMxcsr{"\x80\x1f", 2};
    if (state.size() < kMxcsrOffset + kMxcsr.size()) return;
    state.replace(0, kControlWord.size(), kControlWord);
    state.replace(kMxcsrOffset, kMxcsr.size(), kMxcsr);
  });
}

void leave_out_signal_masks(ObjectRecords& records) {
  each_thread(records, [](posix::Thread& thread) { thread.clear_signal_mask(); });
}

void leave_out_robust_lists(ObjectRecords& records) {
  each_thread(records, [](posix::Thread& thread) { thread.clear_robust_list(); });
}

void leave_out_restartable_sequences(ObjectRecords& records) {
  each_thread(records, [](posix::Thread& thread) {
    thread.clear_rseq_address();
    thread.clear_rseq_size();
    thread.clear_rseq_signature();
  });
}

/// The call fails as if a signal had interrupted it.
void leave_out_blocked_calls(ObjectRecords& records) {
  constexpr int kRax = 10;
  constexpr int kOriginalRax = 15;
  each_thread(records, [](posix::Thread& thread) {
    if (!thread.has_blocked() || thread.registers_size() <= kOriginalRax) return;
    thread.clear_blocked();
    thread.set_registers(kRax, static_cast<uint64_t>(-EINTR));
    thread.set_registers(kOriginalRax, ~0ull);
  });
}

void leave_out_names(ObjectRecords& records) {
  each_process(records, [](posix::Process& process) { process.set_name("unnamed"); });
  each_thread(records, [](posix::Thread& thread) { thread.set_name("unnamed"); });
}

void leave_out_scheduling(ObjectRecords& records) {
  each_process(records, [](posix::Process& process) {
    process.clear_oom_score_adj();
    process.clear_oom_score_adj_min();
    process.clear_autogroup_nice();
  });
  each_thread(records, [](posix::Thread& thread) {
    thread.clear_nice();
    thread.clear_policy();
    thread.clear_real_time_priority();
    thread.clear_affinity();
    thread.clear_io_priority();
    thread.clear_deadline();
    thread.clear_slice_ns();
    thread.clear_utilization_min();
    thread.clear_utilization_max();
    thread.clear_default_timer_slack_ns();
    thread.clear_reset_on_fork();
  });
}

/// As init has them.
void leave_out_credentials(ObjectRecords& records) {
  each_thread(records, [](posix::Thread& thread) {
    const auto full = thread.credentials().bounding();
    auto& credentials = *thread.mutable_credentials();
    credentials.Clear();
    credentials.set_permitted(full);
    credentials.set_effective(full);
    credentials.set_bounding(full);
  });
}

void leave_out_process_controls(ObjectRecords& records) {
  constexpr uint64_t kDefaultTimerSlackNs = 50'000;
  constexpr uint32_t kDefaultCoreDumpFilter = 0x33;
  each_process(records, [](posix::Process& process) { process.clear_child_subreaper(); });
  each_thread(records, [](posix::Thread& thread) {
    thread.clear_personality();
    thread.clear_parent_death_signal();
    thread.set_timer_slack_ns(kDefaultTimerSlackNs);
    thread.clear_machine_check_kill();
    thread.clear_speculation();
    thread.clear_time_stamp_denied();
    thread.clear_cpuid_denied();
    thread.mutable_credentials()->clear_no_new_privileges();
  });
  each_address_space(records, [](posix::AddressSpace& space) {
    space.set_dumpable(1);
    space.clear_thp_disabled();
    space.clear_thp_when_advised();
    space.clear_futex_slots();
    space.clear_merge_any();
    space.clear_membarrier();
    space.clear_write_execute_denied();
    space.set_core_dump_filter(kDefaultCoreDumpFilter);
  });
}

// Processes

void leave_out_pending_signals(ObjectRecords& records) {
  each_process(records, [](posix::Process& process) {
    process.clear_pending();
    process.clear_stopped();
    process.clear_stop_signal();
  });
  each_thread(records, [](posix::Thread& thread) { thread.clear_pending(); });
}

void leave_out_signal_handlers(ObjectRecords& records) {
  each(records, &Object::has_signal_handlers, &Object::mutable_signal_handlers, [](posix::SignalHandlers& handlers) { handlers.clear_actions(); });
  each_thread(records, [](posix::Thread& thread) {
    thread.clear_alternate_stack();
    thread.clear_alternate_stack_size();
    thread.set_alternate_stack_flags(SS_DISABLE);
  });
}

void leave_out_timers(ObjectRecords& records) {
  each_process(records, [](posix::Process& process) {
    process.clear_interval_timers();
    process.clear_posix_timers();
  });
}

void leave_out_limits(ObjectRecords& records) {
  each_process(records, [](posix::Process& process) { process.clear_limits(); });
}

/// As if nobody had called setsid(2) or setpgid(2): all are where the process with the lowest number is.
void leave_out_sessions(ObjectRecords& records) {
  const posix::Process* first = nullptr;
  each_process(records, [&](const posix::Process& process) {
    if (first == nullptr || process.pid() < first->pid()) first = &process;
  });
  const int session = first == nullptr ? 0 : first->session();
  each_process(records, [&](posix::Process& process) {
    process.set_session(session);
    process.set_process_group(session);
  });
}

void leave_out_zombies(ObjectRecords& records) {
  std::erase_if(records, [](const auto& entry) { return entry.second.has_process() && entry.second.process().zombie(); });
}

template <typename Damage>
void each_file_system_context(ObjectRecords& records, Damage damage) {
  each(records, &Object::has_file_system_context, &Object::mutable_file_system_context, damage);
}

void leave_out_umask(ObjectRecords& records) {
  each_file_system_context(records, [](posix::FileSystemContext& context) { context.set_umask(0); });
}

void leave_out_directories(ObjectRecords& records) {
  each_file_system_context(records, [](posix::FileSystemContext& context) {
    context.set_working_directory("/");
    context.set_root_directory("/");
  });
}

void leave_out_clocks(ObjectRecords& records) {
  each(records, &Object::has_group, &Object::mutable_group, [](posix::Group& group) {
    group.clear_monotonic_ns();
    group.clear_boottime_ns();
  });
}

void leave_out_group_terminal(ObjectRecords& records) {
  each(records, &Object::has_group, &Object::mutable_group, [](posix::Group& group) { group.clear_terminal(); });
}

/// Bare pairs, which control nothing.
void leave_out_terminals(ObjectRecords& records) {
  each_process(records, [](posix::Process& process) { process.clear_controlling_terminal(); });
  each_file_of(records, &posix::OpenFile::has_terminal, &posix::OpenFile::mutable_terminal, [](posix::Terminal& terminal) {
    if (!terminal.has_state()) return;
    posix::PseudoTerminal& state = *terminal.mutable_state();
    posix::PseudoTerminal bare;
    bare.set_settings(std::string(state.settings().size(), '\0'));
    bare.set_opened(true);
    state = std::move(bare);
  });
}

/// Every mapping private, readable, writable and executable, without advice or a name; no guards, and no break.
void leave_out_mappings(ObjectRecords& records) {
  using namespace posix::vm_flags;
  constexpr uint64_t kDropped = kShared | kMayShare | kGrowsDown | kLocked | kSequentialRead | kRandomRead | kDontCopy | kLockOnFault |
                                kNoReserve | kWipeOnFork | kDontDump | kHugePage | kNoHugePage | kMergeable;
  each_address_space(records, [](posix::AddressSpace& space) {
    space.clear_guard_ranges();
    space.set_brk(space.start_brk());
    space.clear_executable();
    for (auto& mapping : *space.mutable_mappings()) {
      if (mapping.special() != posix::Mapping::kOrdinary) continue;
      mapping.set_flags((mapping.flags() & ~kDropped) | kRead | kWrite | kMayWrite | kExecute);
      mapping.clear_name();
    }
  });
}

/// The pages are left out where they are copied.
void leave_out_pages_only(ObjectRecords&) {}

constexpr struct Mutation {
  std::string_view kind;
  void (*leave_out)(ObjectRecords& records);
} kMutations[] = {
    {"threads", leave_out_threads},
    {"registers", leave_out_registers},
    {"xsave", leave_out_extended_state},
    {"signals-pending", leave_out_pending_signals},
    {"signal-handlers", leave_out_signal_handlers},
    {"signal-mask", leave_out_signal_masks},
    {"timers", leave_out_timers},
    {"memory-private", leave_out_pages_only},
    {"memory-shared", leave_out_pages_only},
    {"mappings", leave_out_mappings},
    {"credentials", leave_out_credentials},
    {"rlimits", leave_out_limits},
    {"umask", leave_out_umask},
    {"cwd", leave_out_directories},
    {"names", leave_out_names},
    {"scheduling", leave_out_scheduling},
    {"prctl", leave_out_process_controls},
    {"sessions", leave_out_sessions},
    {"zombies", leave_out_zombies},
    {"futex-robust", leave_out_robust_lists},
    {"rseq", leave_out_restartable_sequences},
    {"clocks", leave_out_clocks},
    {"blocked-syscalls", leave_out_blocked_calls},
    {"pipe", leave_out_pipes},
    {"unix-socket", leave_out_unix_sockets},
    {"unix-queue", leave_out_unix_queues},
    {"tcp-listen", leave_out_tcp},
    {"udp", leave_out_udp},
    {"epoll", leave_out_epoll_items},
    {"eventfd", leave_out_event_counts},
    {"timerfd", leave_out_timerfds},
    {"signalfd", leave_out_signalfds},
    {"inotify", leave_out_watches},
    {"pidfd", leave_out_pidfds},
    {"memfd", leave_out_pages_only},
    {"mqueue", leave_out_posix_queues},
    {"sysv-shm", leave_out_pages_only},
    {"sysv-sem", leave_out_semaphores},
    {"sysv-msg", leave_out_system_v_messages},
    {"file-locks", leave_out_file_locks},
    {"file-offset", leave_out_positions},
    {"file-flags", leave_out_file_flags},
    {"deleted-file", leave_out_pages_only},
    {"tty", leave_out_group_terminal},
    {"terminal", leave_out_terminals},
    {"directory", leave_out_positions},
    {"fifo", leave_out_fifos},
    {"descriptors", leave_out_descriptors},
    {"scm-rights", leave_out_descriptors_in_flight},
};

}  // namespace

std::vector<std::string> known_mutations() {
  std::vector<std::string> kinds;
  for (const Mutation& mutation : kMutations) kinds.emplace_back(mutation.kind);
  return kinds;
}

void leave_out(const std::set<std::string>& kinds, ObjectRecords& records) {
  for (const Mutation& mutation : kMutations) {
    if (kinds.contains(std::string(mutation.kind))) mutation.leave_out(records);
  }
  for (const std::string& kind : kinds) leave_out_field(kind, records);
}

bool leaves_out_private_pages(const std::set<std::string>& kinds) { return kinds.contains("memory-private"); }

bool leaves_out_pages(const std::set<std::string>& kinds, const posix::Inode& inode) {
  switch (inode.kind()) {
    case posix::Inode::kMemory: return kinds.contains("memfd") || kinds.contains("memory-shared");
    case posix::Inode::kNamedMemory: return kinds.contains("memory-shared");
    case posix::Inode::kSystemVMemory: return kinds.contains("sysv-shm");
    case posix::Inode::kDeleted: return kinds.contains("deleted-file");
    default: return false;
  }
}

}  // namespace perdure::capture
