// What a group has mounted for itself.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace perdure {

/// Watches the mount namespace of a process. One made for it gets every mount of this process's own namespace as it comes; /proc and /dev/pts are its own.
class MountWatch {
 public:
  static Result<MountWatch> open(pid_t host_pid);

  /// Where a file system is mounted that this process does not see there; empty without one. Costs next to nothing while no mount changes.
  Result<std::string> own_mount();

 private:
  explicit MountWatch(Fd list) : list_(std::move(list)) {}

  Fd list_;  ///< the process's /proc/PID/mountinfo: poll(2) tells of changes
  bool read_ = false;
  std::string own_mount_;
};

}  // namespace perdure
