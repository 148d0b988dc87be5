#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "base/clock.h"
#include "linux/tcp_leftovers.h"
#include "posix/datagram_queue.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

constexpr uint32_t kAddressLock = 4;  // SOCK_BINDADDR_LOCK: bind() gave it
constexpr int kResetTimeoutMs = 1000;
constexpr int64_t kBindTimeoutNs = 5 * kNanosecondsPerSecond;
constexpr useconds_t kBindStepUs = 2000;
constexpr int kQueueRoomBytes = 1 << 28;

std::string make_address(const SocketRecord& socket, const uint8_t* address, uint32_t port, bool with_address) {
  if (socket.family == AF_INET) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(static_cast<uint16_t>(port));
    if (with_address) std::memcpy(&name.sin_addr, address, sizeof name.sin_addr);
    return {reinterpret_cast<const char*>(&name), sizeof name};
  }
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  name.sin6_port = htons(static_cast<uint16_t>(port));
  if (with_address) std::memcpy(&name.sin6_addr, address, sizeof name.sin6_addr);
  if (IN6_IS_ADDR_LINKLOCAL(&name.sin6_addr)) name.sin6_scope_id = socket.bound_interface;
  return {reinterpret_cast<const char*>(&name), sizeof name};
}

int bind_to(int socket, const std::string& address) {
  return bind(socket, reinterpret_cast<const sockaddr*>(address.data()), static_cast<socklen_t>(address.size()));
}
int connect_to(int socket, const std::string& address) {
  return ::connect(socket, reinterpret_cast<const sockaddr*>(address.data()), static_cast<socklen_t>(address.size()));
}
uint16_t port_of(const std::string& address) {
  sockaddr_in name{};  // sin_port and sin6_port lie at the same place
  std::memcpy(&name, address.data(), std::min(address.size(), sizeof name));
  return ntohs(name.sin_port);
}

const char* family_name(uint32_t family) {
  switch (family) {
    case AF_INET: return "an IPv4 socket (AF_INET";
    case AF_INET6: return "an IPv6 socket (AF_INET6";
    case AF_NETLINK: return "a netlink socket (AF_NETLINK";
    case AF_PACKET: return "a packet socket (AF_PACKET";
    case AF_VSOCK: return "a vsock socket (AF_VSOCK";
    case AF_ALG: return "a crypto socket (AF_ALG";
    case AF_XDP: return "an XDP socket (AF_XDP";
    case AF_BLUETOOTH: return "a Bluetooth socket (AF_BLUETOOTH";
    case AF_CAN: return "a CAN socket (AF_CAN";
    default: return "a socket of another family (";
  }
}
const char* type_name(uint32_t type) {
  switch (type) {
    case SOCK_STREAM: return "SOCK_STREAM";
    case SOCK_DGRAM: return "SOCK_DGRAM";
    case SOCK_RAW: return "SOCK_RAW";
    case SOCK_SEQPACKET: return "SOCK_SEQPACKET";
    default: return "another type";
  }
}

Result<void> check_kind(const SocketRecord& socket) {
  const bool internet = socket.family == AF_INET || socket.family == AF_INET6;
  const bool tcp = socket.type == SOCK_STREAM && socket.protocol == IPPROTO_TCP;
  const bool udp = socket.type == SOCK_DGRAM && socket.protocol == IPPROTO_UDP;
  if (!internet || !(tcp || udp)) {
    return failure(fmt::format("{}, family {}, {}, protocol {}) cannot be persisted: the program must close it before a checkpoint",
                               family_name(socket.family), socket.family, type_name(socket.type), socket.protocol));
  }
  if (socket.multicast_memberships != 0) return failure("a socket that is a member of a multicast group cannot be persisted: it must leave first");
  if (udp && socket.write_queue_length != 0) return failure("a UDP socket holds back part of a datagram (UDP_CORK, MSG_MORE)");
  return {};
}

/// A connection that its peer has reset: what becomes of an established one.
Result<Fd> reset_connection(int family) {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Fd ours(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener || !ours) return system_error("make a socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return system_error("listen on the loopback interface");
  }
  std::string target(reinterpret_cast<const char*>(&address), sizeof address);
  if (family == AF_INET6) {
    // By way of IPv4, which is always there.
    sockaddr_in6 mapped{};
    mapped.sin6_family = AF_INET6;
    mapped.sin6_port = address.sin_port;
    mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(&mapped.sin6_addr.s6_addr[12], &address.sin_addr, sizeof address.sin_addr);
    target.assign(reinterpret_cast<const char*>(&mapped), sizeof mapped);
    const int off = 0;
    setsockopt(ours.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (connect_to(ours.get(), target) != 0) return system_error("make a connection on the loopback interface");
  Fd peer(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const linger reset{1, 0};
  if (!peer || setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset) != 0) return system_error("reset a connection");
  peer.reset();
  pollfd hung_up{ours.get(), 0, 0};
  if (poll(&hung_up, 1, kResetTimeoutMs) != 1) return failure("a connection on the loopback interface was not reset");
  return ours;
}

class InetSocketKind final : public FileKind {
 public:
  const char* name() const override { return "socket"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kInetSocket; }

  /// Every socket that no other kind wants: those of other families are refused by name.
  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    return source.record.kind == kSocketFile && source.table.sockets.find(source.record.file) != nullptr;
  }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    const SocketRecord& socket = *source.table.sockets.find(source.record.file);
    TRY(check_kind(socket));
    InetSocket& record = *file.mutable_inet_socket();
    record.set_family(static_cast<int>(socket.family));
    record.set_type(static_cast<int>(socket.type));
    record.set_protocol(static_cast<int>(socket.protocol));
    record.set_uid(socket.owner_uid);
    record.set_gid(socket.owner_gid);
    record.set_peek_offset(socket.peek_offset);
    record_state(socket, record);
    record.set_options(*TRY(context.socket_options().of(socket, record.established(), [&] { return context.duplicate(source); })));
    // Datagrams may lie in a reader's list only, of which no length is kept: what memory they take is told for both.
    if (record.type() == SOCK_DGRAM && socket.receive_queue_memory != 0) {
      record_datagrams(*TRY(context.socket_queue(socket.sock, &source)), record);
    }
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext&) const override {
    const InetSocket& wanted = file.inet_socket();
    Fd fd;
    if (wanted.established()) {
      fd = TRY(reset_connection(wanted.family()));
      int error = 0;
      socklen_t size = sizeof error;
      if (wanted.error_told()) getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    } else {
      fd = Fd(::socket(wanted.family(), wanted.type() | SOCK_CLOEXEC, wanted.protocol()));
      if (!fd) return system_error("make a socket");
    }
    if (fchown(fd.get(), wanted.uid(), wanted.gid()) != 0) return system_error("set a socket's owner");
    if (!wanted.established()) {
      TRY(apply_socket_options(fd.get(), wanted.options(), OptionPhase::early));
      TRY(bind_and_fill(fd.get(), wanted));
    }
    TRY(finish(fd.get(), wanted));
    if (fcntl(fd.get(), F_SETFL, file.flags() & (O_NONBLOCK | O_ASYNC)) != 0) return system_error("set a socket's flags");
    return fd;
  }

 private:
  static void record_state(const SocketRecord& socket, InetSocket& record) {
    const bool bound = socket.local_port != 0 || (socket.user_locks & kAddressLock) != 0;
    if (bound) record.set_local_address(make_address(socket, socket.local_address, socket.local_port, (socket.user_locks & kAddressLock) != 0));
    if (socket.type == SOCK_STREAM) {
      record.set_listening(socket.state == TCP_LISTEN);
      record.set_backlog(static_cast<int>(socket.accept_queue_limit));
      record.set_connecting(socket.state == TCP_SYN_SENT);
      const bool over = socket.state == TCP_CLOSE && socket.shutdown == kBothDirections;
      record.set_established(over || (socket.state != TCP_CLOSE && !record.listening() && !record.connecting()));
      record.set_error_told(over && socket.error == 0);
      if (record.connecting()) record.set_peer_address(make_address(socket, socket.remote_address, socket.remote_port, true));
    } else {
      record.set_shutdown(socket.shutdown);
      const bool connected = socket.state == TCP_ESTABLISHED;
      if (connected) record.set_peer_address(make_address(socket, socket.remote_address, socket.remote_port, true));
    }
  }

  /// The former group's connections may still hold the port, and its processes may not be quite gone.
  static Result<void> bind_again(int socket, const InetSocket& wanted) {
    const int64_t deadline_ns = monotonic_ns() + kBindTimeoutNs;
    while (bind_to(socket, wanted.local_address()) != 0) {
      if (errno != EADDRINUSE || monotonic_ns() > deadline_ns) {
        return system_error(fmt::format("bind a {} socket to port {} again", wanted.type() == SOCK_STREAM ? "TCP" : "UDP",
                                        port_of(wanted.local_address())));
      }
      if (wanted.type() == SOCK_STREAM) TRY(end_tcp_leftovers(port_of(wanted.local_address())));
      usleep(kBindStepUs);
    }
    return {};
  }

  static Result<void> bind_and_fill(int socket, const InetSocket& wanted) {
    if (!wanted.local_address().empty()) TRY(bind_again(socket, wanted));
    if (wanted.listening() && listen(socket, wanted.backlog()) != 0) return system_error("listen on a socket again");
    if (wanted.datagrams_size() != 0) {
      setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, &kQueueRoomBytes, sizeof kQueueRoomBytes);
      TRY(resend_datagrams(socket, wanted));
    }
    if (wanted.peer_address().empty()) return {};
    if (wanted.connecting()) {
      // It fails, if it must, as it would have: told when it is asked for.
      fcntl(socket, F_SETFL, O_NONBLOCK);
      (void)connect_to(socket, wanted.peer_address());
      return {};
    }
    if (connect_to(socket, wanted.peer_address()) != 0) return system_error("connect a datagram socket again");
    if (wanted.shutdown() != 0) ::shutdown(socket, static_cast<int>(wanted.shutdown() & kBothDirections) - 1);
    return {};
  }

  static Result<void> finish(int socket, const InetSocket& wanted) {
    // A connection that is over takes few options: what it does take, it gets.
    if (wanted.established()) {
      (void)apply_socket_options(socket, wanted.options(), OptionPhase::early);
      (void)apply_socket_options(socket, wanted.options(), OptionPhase::late);
      return {};
    }
    TRY(apply_socket_options(socket, wanted.options(), OptionPhase::late));
    const int offset = wanted.peek_offset();
    if (offset >= 0 && setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) != 0) return system_error("set a peek offset");
    return {};
  }
};

}  // namespace

const FileKind* inet_socket_kind() {
  static const InetSocketKind kind;
  return &kind;
}

}  // namespace perdure::posix
