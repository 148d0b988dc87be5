// System calls made as somebody else: for what the kernel notes of the caller in an object (SO_PEERCRED, SCM_CREDENTIALS).
#pragma once

#include <sys/types.h>

#include <compare>
#include <functional>
#include <string>

#include "base/result.h"

namespace perdure {

/// Who the kernel is to see: a number in the PID namespace of the group (0: somebody outside of it) and effective ids.
struct Identity {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  auto operator<=>(const Identity&) const = default;
};

/// What a stand-in does: system calls only (it is forked from a process with threads); returns 0 or an errno.
using StandInWork = std::function<int()>;

/// Runs `work` in a short-lived process of the PID namespace of `namespace_pid` (a PID in ours) that has the number and effective ids of `identity`,
/// shares our descriptors, and reaches files as we do. The number must be free.
Result<void> run_as(pid_t namespace_pid, const Identity& identity, const std::string& what, const StandInWork& work);

/// The same with our own ids, and with any number if that one is taken.
Result<void> run_within(pid_t namespace_pid, pid_t preferred_pid, const std::string& what, const StandInWork& work);

}  // namespace perdure
