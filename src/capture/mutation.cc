#include "capture/mutation.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "posix/vm_flags.h"

namespace perdure::capture {

namespace {

using posix::Object;

template <typename Damage>
void each_process(ObjectRecords& records, Damage damage) {
  for (auto& [id, object] : records) {
    if (object.has_process()) damage(*object.mutable_process());
  }
}

template <typename Damage>
void each_thread(ObjectRecords& records, Damage damage) {
  for (auto& [id, object] : records) {
    if (object.has_thread()) damage(*object.mutable_thread());
  }
}

template <typename Damage>
void each_file(ObjectRecords& records, Damage damage) {
  for (auto& [id, object] : records) {
    if (object.has_open_file()) damage(*object.mutable_open_file());
  }
}

template <typename Damage>
void each_unix_socket(ObjectRecords& records, Damage damage) {
  each_file(records, [&](posix::OpenFile& file) {
    if (file.has_unix_socket()) damage(*file.mutable_unix_socket());
  });
}

template <typename Damage>
void each_inet_socket(ObjectRecords& records, int type, Damage damage) {
  each_file(records, [&](posix::OpenFile& file) {
    if (file.has_inet_socket() && file.inet_socket().type() == type) damage(*file.mutable_inet_socket());
  });
}

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
  each_process(records, [](posix::Process& process) { process.clear_oom_score_adj(); });
  each_thread(records, [](posix::Thread& thread) {
    thread.clear_nice();
    thread.clear_policy();
    thread.clear_real_time_priority();
    thread.clear_affinity();
    thread.clear_io_priority();
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
  each_process(records, [](posix::Process& process) { process.clear_child_subreaper(); });
  each_thread(records, [](posix::Thread& thread) {
    thread.clear_personality();
    thread.clear_parent_death_signal();
    thread.set_timer_slack_ns(kDefaultTimerSlackNs);
    thread.mutable_credentials()->clear_no_new_privileges();
  });
  for (auto& [id, object] : records) {
    if (!object.has_address_space()) continue;
    object.mutable_address_space()->set_dumpable(1);
    object.mutable_address_space()->clear_thp_disabled();
  }
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
  for (auto& [id, object] : records) {
    if (object.has_signal_handlers()) object.mutable_signal_handlers()->clear_actions();
  }
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

/// As if nobody had called setpgid(2).
void leave_out_process_groups(ObjectRecords& records) {
  each_process(records, [](posix::Process& process) { process.set_process_group(process.session()); });
}

void leave_out_zombies(ObjectRecords& records) {
  std::erase_if(records, [](const auto& entry) { return entry.second.has_process() && entry.second.process().zombie(); });
}

void leave_out_umask(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (object.has_file_system_context()) object.mutable_file_system_context()->set_umask(0);
  }
}

void leave_out_directories(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (!object.has_file_system_context()) continue;
    object.mutable_file_system_context()->set_working_directory("/");
    object.mutable_file_system_context()->set_root_directory("/");
  }
}

void leave_out_clocks(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (!object.has_group()) continue;
    object.mutable_group()->clear_monotonic_ns();
    object.mutable_group()->clear_boottime_ns();
  }
}

void leave_out_terminal(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (object.has_group()) object.mutable_group()->clear_terminal();
  }
}

/// Every mapping private, readable, writable and executable, without advice or a name; no guards, and no break.
void leave_out_mappings(ObjectRecords& records) {
  using namespace posix::vm_flags;
  constexpr uint64_t kDropped = kShared | kMayShare | kGrowsDown | kLocked | kSequentialRead | kRandomRead | kDontCopy | kLockOnFault |
                                kNoReserve | kWipeOnFork | kDontDump | kHugePage | kNoHugePage | kMergeable;
  for (auto& [id, object] : records) {
    if (!object.has_address_space()) continue;
    auto& space = *object.mutable_address_space();
    space.clear_guard_ranges();
    space.set_brk(space.start_brk());
    space.clear_executable();
    for (auto& mapping : *space.mutable_mappings()) {
      if (mapping.special() != posix::Mapping::kOrdinary) continue;
      mapping.set_flags((mapping.flags() & ~kDropped) | kRead | kWrite | kMayWrite | kExecute);
      mapping.clear_name();
    }
  }
}

/// The pages are left out where they are copied.
void leave_out_pages_only(ObjectRecords&) {}

// Open files

/// An end that nothing holds together with the other one.
void separate(uint64_t id, posix::Pipe& pipe) {
  pipe.set_buffer_id(id);
  pipe.clear_capacity_bytes();
  pipe.clear_buffers();
}

void leave_out_pipes(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (object.has_open_file() && object.open_file().has_pipe() && object.open_file().pipe().fifo_path().empty()) {
      separate(id, *object.mutable_open_file()->mutable_pipe());
    }
  }
}

void leave_out_fifos(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (object.has_open_file() && object.open_file().has_pipe() && !object.open_file().pipe().fifo_path().empty()) {
      separate(id, *object.mutable_open_file()->mutable_pipe());
    }
  }
}

void leave_out_unix_sockets(ObjectRecords& records) {
  each_unix_socket(records, [](posix::UnixSocket& socket) {
    posix::UnixSocket bare;
    bare.set_socket(socket.socket());
    bare.set_type(socket.type());
    bare.set_peek_offset(-1);
    socket = std::move(bare);
  });
}

void leave_out_unix_queues(ObjectRecords& records) {
  each_unix_socket(records, [](posix::UnixSocket& socket) {
    socket.clear_messages();
    socket.clear_connections();
  });
}

void leave_out_descriptors_in_flight(ObjectRecords& records) {
  each_unix_socket(records, [](posix::UnixSocket& socket) {
    for (auto& message : *socket.mutable_messages()) message.clear_open_files();
    for (auto& connection : *socket.mutable_connections()) {
      for (auto& message : *connection.mutable_messages()) message.clear_open_files();
    }
  });
}

void leave_out_inet_sockets(ObjectRecords& records, int type) {
  each_inet_socket(records, type, [](posix::InetSocket& socket) {
    posix::InetSocket bare;
    bare.set_family(socket.family());
    bare.set_type(socket.type());
    bare.set_protocol(socket.protocol());
    bare.set_peek_offset(-1);
    socket = std::move(bare);
  });
}

void leave_out_tcp(ObjectRecords& records) { leave_out_inet_sockets(records, SOCK_STREAM); }
void leave_out_udp(ObjectRecords& records) { leave_out_inet_sockets(records, SOCK_DGRAM); }

void leave_out_epoll_items(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (file.has_epoll()) file.mutable_epoll()->clear_items();
  });
}

void leave_out_event_counts(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (file.has_eventfd()) file.mutable_eventfd()->Clear();
  });
}

void leave_out_timerfds(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (!file.has_timerfd()) return;
    file.mutable_timerfd()->clear_armed();
    file.mutable_timerfd()->clear_rests();
    file.mutable_timerfd()->clear_unread_ticks();
  });
}

void leave_out_signalfds(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (file.has_signalfd()) file.mutable_signalfd()->clear_accepted();
  });
}

void leave_out_watches(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (file.has_inotify()) file.mutable_inotify()->Clear();
  });
}

/// A live process's pidfd becomes that of a dead one, and the other way round.
void leave_out_pidfds(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (file.has_pidfd()) file.mutable_pidfd()->set_pid(file.pidfd().pid() == 0 ? 1 : 0);
  });
}

void leave_out_file_locks(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) { file.clear_locks(); });
  for (auto& [id, object] : records) {
    if (object.has_descriptor_table()) object.mutable_descriptor_table()->clear_locks();
  }
}

void leave_out_positions(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) { file.clear_position(); });
}

void leave_out_file_flags(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) { file.set_flags(file.flags() & (O_ACCMODE | O_DIRECTORY)); });
  for (auto& [id, object] : records) {
    if (!object.has_descriptor_table()) continue;
    for (auto& descriptor : *object.mutable_descriptor_table()->mutable_descriptors()) descriptor.clear_close_on_exec();
  }
}

/// Only the standard streams are left.
void leave_out_descriptors(ObjectRecords& records) {
  constexpr int kStandardStreams = 3;
  for (auto& [id, object] : records) {
    if (!object.has_descriptor_table()) continue;
    auto& descriptors = *object.mutable_descriptor_table()->mutable_descriptors();
    const auto others = std::ranges::remove_if(descriptors, [](const auto& descriptor) { return descriptor.number() >= kStandardStreams; });
    descriptors.erase(others.begin(), others.end());
  }
}

// Inter-process communication

void leave_out_posix_queues(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (!object.has_message_queue()) continue;
    object.mutable_message_queue()->clear_messages();
    object.mutable_message_queue()->clear_notify_pid();
  }
}

void leave_out_semaphores(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (!object.has_system_v_semaphores()) continue;
    for (auto& value : *object.mutable_system_v_semaphores()->mutable_values()) value = 0;
    object.mutable_system_v_semaphores()->clear_undos();
  }
}

void leave_out_system_v_messages(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (object.has_system_v_messages()) object.mutable_system_v_messages()->clear_messages();
  }
}

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
    {"sessions", leave_out_process_groups},
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
    {"tty", leave_out_terminal},
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
