// Learning of a group's waking by an event, so that a supervisor whose group sleeps costs no CPU.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"

namespace perdure::posix {

/// Watches the tasks of one PID namespace. BPF programs are attached to the scheduler's tracepoints only between arm() and disarm().
class WakeWatch {
 public:
  static Result<WakeWatch> create(uint32_t pid_namespace);
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
  std::unique_ptr<Program> program_;
};

}  // namespace perdure::posix
