// A group of processes that Perdure did not start.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace perdure::supervisor {

/// A running process and its descendants, gathered in a cgroup of their own, so that what they start belongs to the group from its birth.
/// The destructor puts them back where the first of them was (the root cgroup, if that is gone), and removes the cgroup.
class AttachedGroup {
 public:
  /// Removes empty cgroups that killed supervisors of the group left behind.
  static void sweep(const std::string& name);
  /// The name of the group in whose cgroup the process is, if the group's supervisor lives.
  static std::optional<std::string> group_of(pid_t pid);
  static Result<std::unique_ptr<AttachedGroup>> gather(const std::string& name, pid_t pid);
  ~AttachedGroup();

  uint64_t cgroup_id() const { return cgroup_id_; }
  /// Readable when the process has ended.
  int pidfd() const { return pidfd_.get(); }
  pid_t pid() const { return pid_; }
  /// Duplicates of the process's descriptors 0, 1, 2; -1 where it has none.
  std::array<int, 3> standard_streams() const { return {streams_[0].get(), streams_[1].get(), streams_[2].get()}; }

 private:
  AttachedGroup() = default;
  Result<bool> move_those_outside(std::set<pid_t>& moved);
  Result<void> move_descendants();
  pid_t pid_ = 0;
  std::string directory_;
  std::string origin_;  ///< cgroup.procs of the cgroup that the process came from
  uint64_t cgroup_id_ = 0;
  Fd held_;  ///< the cgroup's directory, locked for as long as the supervisor lives
  Fd pidfd_;
  std::array<Fd, 3> streams_;
};

}  // namespace perdure::supervisor
