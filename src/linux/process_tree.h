// Which processes there are, and who is whose child.
#pragma once

#include <sys/types.h>

#include <set>
#include <vector>

namespace perdure {

/// Every process that /proc shows.
std::vector<pid_t> every_process();

/// The parent of a process, whichever of its threads it was that forked; 0 when there is none, or the process is gone.
pid_t parent_of(pid_t pid);

/// The process and all that are below it, by one pass over /proc: who is born or reparented meanwhile may be missing.
std::set<pid_t> with_descendants(pid_t pid);

}  // namespace perdure
