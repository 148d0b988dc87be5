// TCP connections that outlive the process that had them.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace perdure {

/// Ends the connections with this local port that no process has any more (TIME_WAIT and the like), so that the port can be bound again at once.
Result<void> end_tcp_leftovers(uint16_t local_port);

}  // namespace perdure
