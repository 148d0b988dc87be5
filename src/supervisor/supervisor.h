// The life of one group: start or resume it, take checkpoints, serve commands, record its end.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "linux/group_init.h"

namespace perdure::supervisor {

struct RunOptions {
  std::string name;
  std::string root;                  ///< store root
  std::vector<std::string> command;  ///< program and arguments
  std::optional<StartPlan::User> user;
  int64_t period_ns = 10'000'000;
  uint64_t keep_epochs = 100;
  bool sync_files = true;            ///< --files sync
  bool audit = false;
  bool strict = false;               ///< end the program when it cannot be persisted
  bool survive_supervisor = false;   ///< --on-supervisor-exit continue
  bool lazy = false;                 ///< a restored program runs before all of its memory is there; not with survive_supervisor
  bool resume_crashed = false;       ///< --on-crash resume
  std::set<std::string> disabled_kinds;
  bool detach = false;               ///< standard streams: nothing to read, and output to a file of the group's directory
  pid_t attach_pid = 0;              ///< `attach`: the process to persist (see check_attachable()); 0: `command` is started
  std::optional<uint64_t> restore_epoch;  ///< `restore`: bring this epoch back (0: the newest) whatever the recorded state
};

/// Runs the group until it ends. Returns the wait(2) status of its program. Errors are those of Perdure itself.
Result<int> run_group(const RunOptions& options);

}  // namespace perdure::supervisor
