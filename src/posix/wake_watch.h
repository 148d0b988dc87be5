// Learning of a group's waking by an event, so that a supervisor whose group sleeps costs no CPU.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"

namespace perdure::posix {

/// Watches the tasks of one group. BPF programs are attached to the scheduler's tracepoints only between arm() and disarm().
class WakeWatch {
 public:
  /// The group is the tasks of a PID namespace, by its inode number.
  static Result<WakeWatch> of_pid_namespace(uint32_t inode);
  /// The group is the tasks of a cgroup v2 and of those below it, by its id and its depth below the root cgroup.
  static Result<WakeWatch> of_cgroup(uint64_t id, uint32_t level);
  WakeWatch(WakeWatch&&) noexcept;
  WakeWatch& operator=(WakeWatch&&) noexcept;
  ~WakeWatch();

  /// Begins to watch. Whoever wakes from now on makes fd() readable; look once more whether all sleep before waiting for it.
  Result<void> arm();
  void disarm();
  /// For poll(2).
  int fd() const;

 private:
  struct Program;
  explicit WakeWatch(std::unique_ptr<Program> program);
  static Result<WakeWatch> create();
  std::unique_ptr<Program> program_;
};

}  // namespace perdure::posix
