// Until when threads sleep in calls with a relative timeout: no register says it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "posix/blocked_syscall.h"
#include "posix/collector.h"

namespace perdure::capture {

/// Remembers the deadlines of sleepers from the moment when each was first seen.
class Sleeps {
 public:
  /// What is left of the timeout of the call that the thread is in; -1 without one. `asleep`: whether `thread` says how it was seen asleep in
  /// this call; otherwise it has only begun, unless it was taken up again after a stop.
  int64_t remaining_ns(const posix::ThreadBrief& thread, const posix::CallArguments& call, bool asleep, int64_t now_ns);
  /// Forgets threads that are gone.
  void keep_only(const std::vector<posix::ThreadBrief>& threads);

 private:
  struct Sleep {
    uint64_t thread_start_ns = 0;  ///< a task's address is used again
    uint64_t call = 0;
    std::optional<uint64_t> nvcsw;  ///< absent for one that was stopped
    int64_t deadline_ns = -1;       ///< -1: never
  };
  std::map<uint64_t, Sleep> sleeps_;  ///< by task address
};

}  // namespace perdure::capture
