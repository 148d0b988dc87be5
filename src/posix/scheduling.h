// How threads are scheduled: all of it is set from outside, by their numbers.
#pragma once

#include <sys/types.h>

#include <utility>

#include "base/result.h"
#include "posix/object_tree.h"

namespace perdure::posix {

/// Nice value, policy and its parameters, affinity, I/O priority.
Result<void> set_scheduling(pid_t host_tid, const Thread& thread);

/// While it lives, what a bare task creates is born with a thread's default timer slack, which cannot be set later. The task gets back its own
/// default, and SCHED_OTHER.
class SlackAtBirth {
 public:
  /// `creator`: a task of SCHED_OTHER, by its number here. Does nothing where the record of `wanted` does not tell.
  static Result<SlackAtBirth> lend(pid_t creator, const Thread& wanted);
  SlackAtBirth(SlackAtBirth&& other) noexcept : creator_(std::exchange(other.creator_, 0)) {}
  SlackAtBirth& operator=(SlackAtBirth&&) = delete;
  ~SlackAtBirth();

 private:
  explicit SlackAtBirth(pid_t creator) : creator_(creator) {}
  pid_t creator_;
};

}  // namespace perdure::posix
