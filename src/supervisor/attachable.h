// What can be attached to.
#pragma once

#include <sys/types.h>

#include "base/result.h"

namespace perdure::supervisor {

/// Error, which says why in words of the user's, on a process that cannot become an attached group: there is none, it is a kernel thread, a zombie,
/// an ancestor of the caller, or it or one below it belongs to another group. Touches nothing.
Result<void> check_attachable(pid_t pid);

}  // namespace perdure::supervisor
