// UDP datagrams that were received and not yet read.
#pragma once

#include "base/result.h"
#include "posix/collector.h"
#include "posix/object_tree.h"

namespace perdure::posix {

/// Records what waits in a UDP socket.
void record_datagrams(const SocketQueue& queue, InetSocket& socket);

/// Sends the recorded datagrams to a bound socket once more, each from the address it came from. Others bound to the same port get none
/// of them. The socket's receive buffer must have room.
Result<void> resend_datagrams(int socket, const InetSocket& record);

}  // namespace perdure::posix
