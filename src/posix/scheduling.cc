#include "posix/scheduling.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux/process.h"

namespace perdure::posix {

namespace {

// SCHED_FLAG_*
constexpr uint64_t kSetattrResetOnFork = 0x1;
constexpr uint64_t kSetattrKeepRest = 0x8 | 0x10;
constexpr uint64_t kSetattrUtilizationMin = 0x20;
constexpr uint64_t kSetattrUtilizationMax = 0x40;

/// struct sched_attr as <linux/sched/types.h> has it, which <sched.h> does not go with.
struct Attributes {
  uint32_t size = sizeof(Attributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0, deadline_ns = 0, period_ns = 0;
  uint32_t utilization_min = 0, utilization_max = 0;
};

Result<void> set_attributes(pid_t host_tid, const Attributes& attributes, const Thread& thread, const char* what) {
  if (syscall(SYS_sched_setattr, host_tid, &attributes, 0) == 0) return {};
  return system_error(fmt::format("set {} of thread {}", what, thread.tid()));
}

Result<void> set_deadline(pid_t host_tid, const Thread& thread) {
  const Attributes attributes{.policy = thread.policy(),
                              .flags = thread.deadline().flags() | (thread.reset_on_fork() ? kSetattrResetOnFork : 0),
                              .nice = thread.nice(),
                              .runtime_ns = thread.deadline().runtime_ns(),
                              .deadline_ns = thread.deadline().deadline_ns(),
                              .period_ns = thread.deadline().period_ns()};
  return set_attributes(host_tid, attributes, thread, "the deadline");
}

Result<void> set_policy(pid_t host_tid, const Thread& thread) {
  // A fair policy's: other policies keep it for when the thread comes back to one.
  if (thread.slice_ns() != 0) {
    TRY(set_attributes(host_tid, {.policy = SCHED_OTHER, .nice = thread.nice(), .runtime_ns = thread.slice_ns()}, thread, "the slice"));
  }
  if (thread.has_deadline()) return set_deadline(host_tid, thread);
  if (thread.policy() == SCHED_OTHER && !thread.reset_on_fork()) return {};
  sched_param parameters{};
  parameters.sched_priority = static_cast<int>(thread.real_time_priority());
  const int policy = static_cast<int>(thread.policy()) | (thread.reset_on_fork() ? SCHED_RESET_ON_FORK : 0);
  if (sched_setscheduler(host_tid, policy, &parameters) == 0) return {};
  return system_error(fmt::format("set the scheduling policy of thread {}", thread.tid()));
}

Result<void> set_clamps(pid_t host_tid, const Thread& thread) {
  const Attributes attributes{.flags = kSetattrKeepRest | (thread.has_utilization_min() ? kSetattrUtilizationMin : 0) |
                                       (thread.has_utilization_max() ? kSetattrUtilizationMax : 0),
                              .utilization_min = thread.utilization_min(),
                              .utilization_max = thread.utilization_max()};
  if (attributes.flags == kSetattrKeepRest) return {};
  return set_attributes(host_tid, attributes, thread, "the clamps of utilisation");
}

std::string slack_path(pid_t task) { return fmt::format("/proc/{}/timerslack_ns", task); }

}  // namespace

Result<void> set_scheduling(pid_t host_tid, const Thread& thread) {
  if (!thread.affinity().empty() &&
      syscall(SYS_sched_setaffinity, host_tid, thread.affinity().size(), thread.affinity().data()) != 0) {
    return system_error(fmt::format("set the affinity of thread {}", thread.tid()));
  }
  TRY(set_policy(host_tid, thread));
  TRY(set_clamps(host_tid, thread));
  if (setpriority(PRIO_PROCESS, static_cast<id_t>(host_tid), thread.nice()) != 0) {
    return system_error(fmt::format("set the nice value of thread {}", thread.tid()));
  }
  if (thread.io_priority() != 0 && syscall(SYS_ioprio_set, 1, host_tid, thread.io_priority()) != 0) {
    return system_error(fmt::format("set the I/O priority of thread {}", thread.tid()));
  }
  return {};
}

Result<SlackAtBirth> SlackAtBirth::lend(pid_t creator, const Thread& wanted) {
  if (!wanted.has_default_timer_slack_ns()) return SlackAtBirth(0);
  SlackAtBirth lent(creator);
  if (wanted.default_timer_slack_ns() != 0) {
    TRY(write_file(slack_path(creator), std::to_string(wanted.default_timer_slack_ns())));
    return lent;
  }
  // Real-time threads alone have none.
  sched_param parameters{};
  parameters.sched_priority = sched_get_priority_min(SCHED_FIFO);
  if (sched_setscheduler(creator, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters) == 0) return lent;
  return system_error(fmt::format("create thread {} by a real-time thread", wanted.tid()));
}

SlackAtBirth::~SlackAtBirth() {
  if (creator_ == 0) return;
  const sched_param parameters{};
  sched_setscheduler(creator_, SCHED_OTHER, &parameters);
  (void)write_file(slack_path(creator_), "0");
}

}  // namespace perdure::posix
