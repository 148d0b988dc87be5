// Options of sockets of every family.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/fd.h"
#include "base/result.h"
#include "posix/object_tree.h"
#include "posix/socket.bpf.h"
#include "posix/socket_option.pb.h"

namespace perdure::posix {

inline constexpr uint32_t kBothDirections = 3;  ///< of a shutdown, as SocketRecord tells it

/// The options of the sockets of a group, asked for by getsockopt() when a socket is first met and when what BPF shows of them has changed.
class SocketOptionCache {
 public:
  /// A serialized SocketOptions: those that differ from the options of a new socket are among them. Of a connection, those are left out that the
  /// kernel sets by itself, as the traffic goes. `duplicate` gives a descriptor of the socket. The result stays good until the next call.
  Result<const std::string*> of(const SocketRecord& socket, bool is_connection, const std::function<Result<Fd>()>& duplicate);
  /// Where the file is that a UNIX socket is bound to, asked for by `find` in the same way.
  Result<std::string> path_of(const SocketRecord& socket, const std::function<Result<std::string>()>& find);
  /// Forgets all sockets but these, by the addresses of their struct sock.
  void forget_all_but(const std::unordered_set<uint64_t>& socks);

 private:
  struct Entry {
    SocketOptionWords words;
    bool is_connection;
    uint32_t user_locks;
    std::string options;
  };
  struct Path {
    std::array<uint64_t, 3> place;
    std::string path;
  };
  std::unordered_map<uint64_t, Entry> entries_;  ///< by sock
  std::unordered_map<uint64_t, Path> paths_;     ///< by sock
};

/// Options that matter to bind() or listen(), or that nothing depends on, and those that would be in the way while a queue is being filled:
/// buffer sizes, credential passing, filters, the interface.
enum class OptionPhase { early, late };

/// Sets those options of a phase (a serialized SocketOptions) that the socket does not have already.
Result<void> apply_socket_options(int socket, const std::string& options, OptionPhase phase);

}  // namespace perdure::posix
