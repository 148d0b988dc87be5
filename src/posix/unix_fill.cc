// What was queued in UNIX sockets is sent again, by whoever sent it.
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "linux/stand_in.h"
#include "posix/restore_context.h"
#include "posix/socket_options.h"
#include "posix/unix_name.h"
#include "posix/unix_restore.h"

namespace perdure::posix {

namespace {

constexpr int kLargestSendBuffer = 1 << 30;

/// A message ready to be sent. Move only: it points into itself.
class Envelope {
 public:
  Envelope(const UnixMessage& message, const std::vector<int>& files, const std::string& address)
      : control_(CMSG_SPACE(sizeof(int) * files.size()) + CMSG_SPACE(sizeof(ucred))), vector_{const_cast<char*>(message.data().data()), message.data().size()} {
    header_.msg_iov = &vector_;
    header_.msg_iovlen = 1;
    header_.msg_name = address.empty() ? nullptr : const_cast<char*>(address.data());
    header_.msg_namelen = static_cast<socklen_t>(address.size());
    header_.msg_control = control_.data();
    if (!files.empty()) add(SCM_RIGHTS, files.data(), sizeof(int) * files.size());
    if (message.has_credentials()) {
      const PeerCredentials& credentials = message.credentials();
      const ucred sender{credentials.pid() == 0 ? getpid() : credentials.pid(), credentials.uid(), credentials.gid()};
      add(SCM_CREDENTIALS, &sender, sizeof sender);
    }
    if (header_.msg_controllen == 0) header_.msg_control = nullptr;
  }
  Envelope(const Envelope&) = delete;
  Envelope& operator=(const Envelope&) = delete;

  /// 0 or an errno.
  int send(int socket, int flags) const {
    const ssize_t sent = sendmsg(socket, &header_, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return errno;
    return static_cast<size_t>(sent) == vector_.iov_len ? 0 : EMSGSIZE;
  }

 private:
  void add(int type, const void* data, size_t size) {
    auto* control = reinterpret_cast<cmsghdr*>(control_.data() + header_.msg_controllen);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = type;
    control->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(control), data, size);
    header_.msg_controllen += CMSG_SPACE(size);
  }

  std::vector<char> control_;
  iovec vector_;
  msghdr header_{};
};

class Filler {
 public:
  explicit Filler(RestoreContext& context) : context_(context), under_way_(context.unix_sockets) {}

  Result<void> fill() {
    for (const auto& [number, id] : under_way_.objects) records_[number] = &TRY(context_.tree.open_file(id))->unix_socket();
    for (const auto& [number, record] : records_) TRY(fill_socket(*record));
    TRY(close_peers());
    TRY(connect_datagrams());
    under_way_.stand_ins.clear();
    for (const auto& [number, record] : records_) TRY(finish(*record));
    return {};
  }

 private:
  Result<int> descriptor(uint64_t number) { return context_.open_file(under_way_.objects.at(number)); }

  Result<void> fill_socket(const UnixSocket& record) {
    for (const UnixMessage& message : record.messages()) {
      if (record.type() == SOCK_DGRAM) TRY(send_datagram(record, message));
      else TRY(send(TRY(other_end(record.socket(), record.peer())), message, {}));
    }
    for (const UnixConnection& connection : record.connections()) {
      for (const UnixMessage& message : connection.messages()) {
        TRY(send(TRY(other_end(connection.socket(), connection.client())), message, {}));
      }
    }
    return {};
  }

  Result<int> other_end(uint64_t socket, uint64_t peer) {
    if (records_.contains(peer)) return descriptor(peer);
    const auto stand_in = under_way_.stand_ins.find(socket);
    if (stand_in == under_way_.stand_ins.end()) return failure("data is queued in a UNIX socket that has no other end");
    return stand_in->second.get();
  }

  Result<void> send(int from, const UnixMessage& message, const std::string& address) {
    std::vector<int> files;
    for (const uint64_t id : message.open_files()) files.push_back(TRY(context_.open_file(id)));
    const Envelope envelope(message, files, address);
    // It may have been sent when the buffer was larger than the default, or than it is now, which is set in the end.
    setsockopt(from, SOL_SOCKET, SO_SNDBUFFORCE, &kLargestSendBuffer, sizeof kLargestSendBuffer);
    return send_as(from, envelope, message.urgent() ? MSG_OOB : 0, message);
  }

  Result<void> send_as(int from, const Envelope& envelope, int flags, const UnixMessage& message) {
    const int pid = message.has_credentials() ? message.credentials().pid() : 0;
    return run_within(context_.init.init_pid(), pid, "fill the queue of a UNIX socket", [&] { return envelope.send(from, flags); });
  }

  Result<void> send_datagram(const UnixSocket& receiver, const UnixMessage& message) {
    const bool paired = under_way_.paired.contains(receiver.socket());
    if (paired && (message.sender() == receiver.peer() || message.sender_name().empty())) {
      return send(TRY(other_end(receiver.socket(), receiver.peer())), message, {});
    }
    Fd file;
    const std::string address = TRY(reachable_address(TRY(descriptor(receiver.socket())), receiver.name(), file));
    if (address.empty()) return failure("a datagram is queued in a UNIX socket that nobody could send to");
    Fd made;
    return send(TRY(datagram_sender(receiver, message, made)), message, address);
  }

  /// The socket itself if there still is one, or else one that tells the same name.
  Result<int> datagram_sender(const UnixSocket& receiver, const UnixMessage& message, Fd& made) {
    if (records_.contains(message.sender())) return descriptor(message.sender());
    const std::string& name = message.sender_name();
    const auto stand_in = under_way_.stand_ins.find(receiver.socket());
    if (stand_in != under_way_.stand_ins.end() && receiver.peer_name() == name) return stand_in->second.get();
    for (const auto& [number, record] : records_) {
      if (!name.empty() && record->type() == SOCK_DGRAM && record->name() == name) return descriptor(number);
    }
    made = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!made) return system_error("make a UNIX socket");
    TRY(bind_unix_name(made.get(), name, context_));
    return made.get();
  }

  /// The other end of a connection is closed. Whoever left something unread then made it a reset.
  Result<void> close_peers() {
    for (const auto& [number, record] : records_) {
      if (record->type() == SOCK_DGRAM || !under_way_.stand_ins.contains(number)) continue;
      if (record->error() == ECONNRESET) ::send(TRY(descriptor(number)), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
      under_way_.stand_ins.erase(number);
    }
    return {};
  }

  /// A socket takes connections from others only as long as it has no other peer: as many rounds as it takes.
  Result<void> connect_datagrams() {
    std::map<uint64_t, const UnixSocket*> left;
    for (const auto& [number, record] : records_) {
      if (record->type() == SOCK_DGRAM && record->connected() && !under_way_.paired.contains(number)) left.emplace(number, record);
    }
    while (!left.empty()) {
      std::optional<Error> refused;
      const size_t before = left.size();
      for (auto at = left.begin(); at != left.end();) {
        auto connected = connect_datagram(*at->second);
        if (!connected && connected.error().error_number != EPERM) return connected;
        if (!connected) refused = connected.error();
        at = connected ? left.erase(at) : std::next(at);
      }
      if (left.size() == before) return std::unexpected(*refused);
    }
    return {};
  }

  Result<void> connect_datagram(const UnixSocket& record) {
    const bool within = records_.contains(record.peer()) || under_way_.stand_ins.contains(record.socket());
    Fd file;
    std::string address = record.peer_name();
    if (within) address = TRY(reachable_address(TRY(other_end(record.socket(), record.peer())), record.peer_name(), file));
    const int connected = ::connect(TRY(descriptor(record.socket())), reinterpret_cast<const sockaddr*>(address.data()),
                                    static_cast<socklen_t>(address.size()));
    // Somebody outside of the group may be gone: then sending fails, as it does when they go while it runs.
    if (connected != 0 && within) return system_error("connect a UNIX datagram socket");
    return {};
  }

  Result<void> finish(const UnixSocket& record) {
    const int socket = TRY(descriptor(record.socket()));
    if ((record.shutdown() & kBothDirections) != 0) ::shutdown(socket, static_cast<int>(record.shutdown() & kBothDirections) - 1);
    if (fchown(socket, record.owner_uid(), record.owner_gid()) != 0) return system_error("set a socket's owner");
    TRY(apply_socket_options(socket, record.options(), OptionPhase::early));
    TRY(apply_socket_options(socket, record.options(), OptionPhase::late));
    const int offset = record.peek_offset();
    if (offset >= 0 && setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) != 0) return system_error("set a peek offset");
    return {};
  }

  RestoreContext& context_;
  UnixSocketsUnderWay& under_way_;
  std::map<uint64_t, const UnixSocket*> records_;
};

}  // namespace

Result<void> fill_unix_sockets(RestoreContext& context) {
  if (std::exchange(context.unix_sockets.filled, true)) return {};
  return Filler(context).fill();
}

}  // namespace perdure::posix
