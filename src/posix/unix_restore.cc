#include "posix/unix_restore.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "linux/group_init.h"
#include "linux/stand_in.h"
#include "posix/restore_context.h"
#include "posix/unix_name.h"

namespace perdure::posix {

namespace {

Identity identity_of(const PeerCredentials& credentials) {
  return {credentials.pid() <= kShepherdPid ? 0 : credentials.pid(), credentials.uid(), credentials.gid()};
}

Result<Fd> new_socket(int type) {
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!fd) return system_error("make a UNIX socket");
  return fd;
}

/// Memory shared with a stand-in.
class SharedPair {
 public:
  SharedPair() : memory_(mmap(nullptr, sizeof(int) * 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {}
  SharedPair(const SharedPair&) = delete;
  SharedPair& operator=(const SharedPair&) = delete;
  ~SharedPair() {
    if (valid()) munmap(memory_, sizeof(int) * 2);
  }
  bool valid() const { return memory_ != MAP_FAILED; }
  int* ends() const { return static_cast<int*>(memory_); }

 private:
  void* memory_;
};

/// One end of a connection that is to be made.
struct End {
  std::string name;
  PeerCredentials peer_credentials;  ///< who it sees at the other end
};

class Maker {
 public:
  explicit Maker(RestoreContext& context) : context_(context), under_way_(context.unix_sockets) {}

  Result<void> make() {
    for (const auto& [id, object] : context_.tree.objects()) {
      if (!object.has_open_file() || !object.open_file().has_unix_socket()) continue;
      const UnixSocket& record = object.open_file().unix_socket();
      records_[record.socket()] = &record;
      under_way_.objects[record.socket()] = id;
      for (const UnixConnection& connection : record.connections()) embryos_.insert(connection.socket());
    }
    // Connections first: an end may have the (abstract) name of a listener that still is there.
    for (const auto& [number, record] : records_) {
      if (record->connected() && record->type() != SOCK_DGRAM && !embryos_.contains(record->peer())) TRY(make_connected(*record));
    }
    for (const auto& [number, record] : records_) {
      if (!made(number)) TRY(record->type() == SOCK_DGRAM ? make_datagram(*record) : make_plain(*record));
    }
    for (const auto& [number, record] : records_) {
      if (record->listening()) TRY(make_waiting(*record));
    }
    return {};
  }

 private:
  bool made(uint64_t number) const { return under_way_.sockets.contains(number); }
  const UnixSocket* find(uint64_t number) const {
    const auto found = records_.find(number);
    return found == records_.end() ? nullptr : found->second;
  }
  Result<void> run(const PeerCredentials& who, const char* what, const StandInWork& work) const {
    return run_as(context_.init.init_pid(), identity_of(who), what, work);
  }

  Result<std::array<Fd, 2>> pair(int type, const PeerCredentials& who) const {
    const SharedPair shared;
    if (!shared.valid()) return system_error("share memory with a stand-in");
    TRY(run(who, "make a UNIX socket pair", [&] { return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, shared.ends()) == 0 ? 0 : errno; }));
    return std::array{Fd(shared.ends()[0]), Fd(shared.ends()[1])};
  }

  /// A connection as connect() and accept() make it, the second end being the one that was accepted: it has a name. By way of a listener of
  /// its own, who is gone when the connection is there.
  Result<std::array<Fd, 2>> connection(int type, const End& client, const End& served) const {
    const Fd listener = TRY(new_socket(type));
    TRY(bind_unix_name(listener.get(), served.name, context_));
    Fd connecting = TRY(new_socket(type));
    TRY(bind_unix_name(connecting.get(), client.name, context_));
    TRY(run(client.peer_credentials, "listen on a UNIX socket", [&] { return listen(listener.get(), 1) == 0 ? 0 : errno; }));
    TRY(connect_to(connecting.get(), listener.get(), served.name, served.peer_credentials));
    Fd accepted(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!accepted) return system_error("accept a UNIX connection");
    return std::array{std::move(connecting), std::move(accepted)};
  }

  Result<void> connect_to(int socket, int listener, const std::string& name, const PeerCredentials& who) const {
    Fd file;
    const std::string address = TRY(reachable_address(listener, name, file));
    return run(who, "connect a UNIX socket", [&] {
      const auto* generic = reinterpret_cast<const sockaddr*>(address.data());
      return ::connect(socket, generic, static_cast<socklen_t>(address.size())) == 0 ? 0 : errno;
    });
  }

  Result<void> make_connected(const UnixSocket& record) {
    if (made(record.socket())) return {};
    const UnixSocket* peer = find(record.peer());
    const End own{record.name(), record.peer_credentials()};
    const End other = peer != nullptr ? End{peer->name(), peer->peer_credentials()} : End{record.peer_name(), {}};
    std::array<Fd, 2> ends;
    if (own.name.empty() && other.name.empty()) {
      ends = TRY(pair(record.type(), record.peer_credentials()));
    } else if (!other.name.empty()) {
      ends = TRY(connection(record.type(), own, other));
    } else {
      ends = TRY(connection(record.type(), other, own));
      std::swap(ends[0], ends[1]);
    }
    under_way_.sockets[record.socket()] = std::move(ends[0]);
    (peer != nullptr ? under_way_.sockets[record.peer()] : under_way_.stand_ins[record.socket()]) = std::move(ends[1]);
    return {};
  }

  Result<void> bind_as_recorded(int socket, const UnixSocket& record) const {
    if (record.path().empty()) return bind_unix_name(socket, record.name(), context_);
    return bind_unix_path(socket, record, context_);
  }

  Result<void> make_plain(const UnixSocket& record) {
    Fd socket = TRY(new_socket(record.type()));
    TRY(bind_as_recorded(socket.get(), record));
    if (record.listening()) {
      const int backlog = std::max(record.backlog(), record.connections_size());
      TRY(run(record.peer_credentials(), "listen on a UNIX socket", [&] { return listen(socket.get(), backlog) == 0 ? 0 : errno; }));
    }
    under_way_.sockets[record.socket()] = std::move(socket);
    return {};
  }

  /// Those that refer to one another and have no name can only come from socketpair(). Others are connected when the queues are full.
  Result<void> make_datagram(const UnixSocket& record) {
    const UnixSocket* peer = find(record.peer());
    const bool mutual = peer != nullptr && peer->peer() == record.socket() && peer != &record;
    const bool lost = record.connected() && peer == nullptr && (record.peer_closed() || record.peer_name().empty());
    if ((mutual && (record.name().empty() || peer->name().empty())) || (lost && record.peer_name().empty())) {
      auto ends = TRY(pair(record.type(), record.peer_credentials()));
      TRY(bind_as_recorded(ends[0].get(), record));
      if (mutual) TRY(bind_as_recorded(ends[1].get(), *peer));
      under_way_.sockets[record.socket()] = std::move(ends[0]);
      under_way_.paired.insert(record.socket());
      if (mutual) under_way_.paired.insert(record.peer());
      (mutual ? under_way_.sockets[record.peer()] : under_way_.stand_ins[record.socket()]) = std::move(ends[1]);
      return {};
    }
    if (lost) {
      Fd stand_in = TRY(new_socket(record.type()));
      TRY(bind_unix_name(stand_in.get(), record.peer_name(), context_));
      under_way_.stand_ins[record.socket()] = std::move(stand_in);
    }
    return make_plain(record);
  }

  /// The connections that wait to be accepted, in their order.
  Result<void> make_waiting(const UnixSocket& listener) {
    const int socket = under_way_.sockets.at(listener.socket()).get();
    for (const UnixConnection& connection : listener.connections()) {
      const bool present = find(connection.client()) != nullptr;
      if (!present) {
        Fd stand_in = TRY(new_socket(listener.type()));
        TRY(bind_unix_name(stand_in.get(), connection.client_name(), context_));
        under_way_.stand_ins[connection.socket()] = std::move(stand_in);
      }
      const Fd& client = present ? under_way_.sockets.at(connection.client()) : under_way_.stand_ins.at(connection.socket());
      TRY(connect_to(client.get(), socket, listener.name(), connection.client_credentials()));
    }
    if (listener.backlog() >= listener.connections_size()) return {};
    return run(listener.peer_credentials(), "listen on a UNIX socket", [&] { return listen(socket, listener.backlog()) == 0 ? 0 : errno; });
  }

  RestoreContext& context_;
  UnixSocketsUnderWay& under_way_;
  std::map<uint64_t, const UnixSocket*> records_;
  std::set<uint64_t> embryos_;
};

}  // namespace

Result<void> make_unix_sockets(RestoreContext& context) { return Maker(context).make(); }

}  // namespace perdure::posix
