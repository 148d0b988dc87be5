// A group that outlives its supervisor (--on-supervisor-exit continue): the store remembers its init, by which it is found and ended.
#pragma once

#include <optional>

#include "base/fd.h"
#include "base/result.h"
#include "store/store.h"

namespace perdure::supervisor {

/// The init of a group that nobody supervises any more, and all that lives with it.
struct Survivor {
  pid_t init_pid;  ///< host PID
  Fd init;         ///< its pidfd
};

/// Remembers in the group's store who its init is.
Result<void> remember_init(store::Store& store, pid_t init_pid);

/// The remembered init, if it still runs; for whoever knows that the group has no supervisor.
std::optional<Survivor> find_survivor(const store::Store& store);

/// Kills every process of the group; returns when they are gone.
Result<void> end_survivor(const Survivor& survivor);

}  // namespace perdure::supervisor
