// UNIX sockets come back together: connections have two ends, of which one may be in a queue, or closed.
#pragma once

#include <map>
#include <set>

#include "base/fd.h"
#include "base/result.h"
#include "store/store.h"

namespace perdure::posix {

class RestoreContext;

/// What is known while they are being made. Keys are UnixSocket.socket.
struct UnixSocketsUnderWay {
  std::map<uint64_t, store::ObjectId> objects;
  std::map<uint64_t, Fd> sockets;    ///< until the open file takes them
  std::map<uint64_t, Fd> stand_ins;  ///< in place of the closed peer of that socket
  std::set<uint64_t> paired;         ///< datagram sockets that socketpair() connected
  bool filled = false;
};

/// Makes all UNIX sockets, bound and connected as they were, empty. To be called before the group's processes are created: stand-ins take their
/// numbers, so that SO_PEERCRED tells them.
Result<void> make_unix_sockets(RestoreContext& context);

/// Sends what was queued, closes what was closed, and sets the options. Needs every open file; only the first call does anything.
Result<void> fill_unix_sockets(RestoreContext& context);

}  // namespace perdure::posix
