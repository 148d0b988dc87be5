// What waits in UNIX sockets: messages, descriptors in flight, connections to be accepted.
#pragma once

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "posix/capture_context.h"
#include "posix/object_tree.h"

namespace perdure::posix {

/// Duplicates of the descriptors that travel in a message, in its order, the message left where it is. `socket` is the one that would receive it.
Result<std::vector<Fd>> peek_descriptors(int socket, const SocketQueue& queue, const SocketMessageRecord& message);

/// Records a receive queue's messages.
void record_messages(const SocketQueue& queue, bool stream, CaptureContext& context, google::protobuf::RepeatedPtrField<UnixMessage>& messages);

/// Records the connections that wait in a listener's queue, and what was sent over them already.
Result<void> record_connections(const SocketQueue& queue, CaptureContext& context, UnixSocket& listener);

/// SO_PEERCRED of a socket; nothing when it has none.
void record_peer_credentials(const SocketRecord& socket, PeerCredentials* credentials);

}  // namespace perdure::posix
