// A bound on how long PTRACE_SEIZE may wait.
#pragma once

#include <cstdint>
#include <ctime>

#include "base/result.h"

namespace perdure {

/// PTRACE_SEIZE waits for as long as any thread of the process is in execve(2), which in turn waits for the tracer of other threads of that
/// process: for ever, if it is the same one. While an instance of this is armed, TracedThread::seize() fails with EINTR instead. It takes a
/// signal for itself, SIGRTMAX, and serves the OS thread that created it.
class SeizePatience {
 public:
  static Result<SeizePatience> create();
  SeizePatience(SeizePatience&& other) noexcept;
  SeizePatience& operator=(SeizePatience&&) = delete;
  ~SeizePatience();

  /// From now on until disarm() no seize waits for longer than about `patience_ns`.
  void arm(int64_t patience_ns);
  void disarm();

 private:
  explicit SeizePatience(timer_t timer) : timer_(timer), owned_(true) {}
  timer_t timer_;
  bool owned_;
  bool armed_ = false;
};

/// PTRACE_SEIZE; 0, or a negated errno.
long seize_with_patience(int tid, unsigned long options);

}  // namespace perdure
