#include "posix/socket_options.h"

#include <asm/socket.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace perdure::posix {

namespace {

// Of kernels newer than the headers this is built with.
constexpr int kPassRights = 83;       // SO_PASSRIGHTS
constexpr int kPassPidfd = 76;        // SO_PASSPIDFD
constexpr int kTransmitRehash = 74;   // SO_TXREHASH
constexpr int kLocalPortRange = 51;   // IP_LOCAL_PORT_RANGE
constexpr int kFlowInformation = 11;  // IPV6_FLOWINFO: linux/in6.h and netinet/in.h exclude one another
constexpr int kFlowInformationSend = 33;
constexpr size_t kLargestOption = 256;

struct Name {
  int level;
  int name;
  OptionPhase phase = OptionPhase::early;
};
constexpr OptionPhase kLate = OptionPhase::late;
constexpr std::array kGenericOptions{
    Name{SOL_SOCKET, SO_REUSEADDR}, Name{SOL_SOCKET, SO_REUSEPORT}, Name{SOL_SOCKET, SO_KEEPALIVE}, Name{SOL_SOCKET, SO_BROADCAST},
    Name{SOL_SOCKET, SO_LINGER}, Name{SOL_SOCKET, SO_OOBINLINE}, Name{SOL_SOCKET, SO_DONTROUTE}, Name{SOL_SOCKET, SO_PRIORITY},
    Name{SOL_SOCKET, SO_MARK}, Name{SOL_SOCKET, SO_RCVLOWAT}, Name{SOL_SOCKET, SO_RCVTIMEO}, Name{SOL_SOCKET, SO_SNDTIMEO},
    Name{SOL_SOCKET, SO_TIMESTAMP}, Name{SOL_SOCKET, SO_TIMESTAMPNS}, Name{SOL_SOCKET, SO_TIMESTAMP_NEW},
    Name{SOL_SOCKET, SO_TIMESTAMPNS_NEW}, Name{SOL_SOCKET, SO_TIMESTAMPING}, Name{SOL_SOCKET, SO_RXQ_OVFL},
    Name{SOL_SOCKET, SO_NO_CHECK}, Name{SOL_SOCKET, SO_BUSY_POLL}, Name{SOL_SOCKET, SO_PREFER_BUSY_POLL},
    Name{SOL_SOCKET, SO_MAX_PACING_RATE}, Name{SOL_SOCKET, SO_ZEROCOPY}, Name{SOL_SOCKET, SO_SELECT_ERR_QUEUE},
    Name{SOL_SOCKET, kTransmitRehash}, Name{SOL_SOCKET, SO_BINDTODEVICE, kLate}, Name{SOL_SOCKET, SO_SNDBUF, kLate},
    Name{SOL_SOCKET, SO_RCVBUF, kLate}, Name{SOL_SOCKET, SO_BUF_LOCK, kLate}, Name{SOL_SOCKET, SO_PASSCRED, kLate},
    Name{SOL_SOCKET, SO_PASSSEC, kLate}, Name{SOL_SOCKET, kPassPidfd, kLate}, Name{SOL_SOCKET, kPassRights, kLate},
    Name{SOL_SOCKET, SO_ATTACH_FILTER, kLate}, Name{SOL_SOCKET, SO_LOCK_FILTER, kLate},
};
constexpr std::array kVersion4Options{
    Name{SOL_IP, IP_TOS}, Name{SOL_IP, IP_TTL}, Name{SOL_IP, IP_RECVTOS}, Name{SOL_IP, IP_RECVTTL}, Name{SOL_IP, IP_PKTINFO},
    Name{SOL_IP, IP_RECVOPTS}, Name{SOL_IP, IP_RETOPTS}, Name{SOL_IP, IP_OPTIONS}, Name{SOL_IP, IP_MTU_DISCOVER},
    Name{SOL_IP, IP_RECVERR}, Name{SOL_IP, IP_RECVERR_RFC4884}, Name{SOL_IP, IP_FREEBIND}, Name{SOL_IP, IP_TRANSPARENT},
    Name{SOL_IP, IP_RECVORIGDSTADDR}, Name{SOL_IP, IP_MINTTL}, Name{SOL_IP, IP_CHECKSUM}, Name{SOL_IP, IP_BIND_ADDRESS_NO_PORT},
    Name{SOL_IP, IP_RECVFRAGSIZE}, Name{SOL_IP, IP_MULTICAST_TTL}, Name{SOL_IP, IP_MULTICAST_LOOP}, Name{SOL_IP, IP_MULTICAST_ALL},
    Name{SOL_IP, IP_MULTICAST_IF}, Name{SOL_IP, IP_UNICAST_IF}, Name{SOL_IP, IP_PASSSEC}, Name{SOL_IP, kLocalPortRange},
};
constexpr std::array kVersion6Options{
    Name{SOL_IPV6, IPV6_V6ONLY}, Name{SOL_IPV6, IPV6_UNICAST_HOPS}, Name{SOL_IPV6, IPV6_MULTICAST_HOPS},
    Name{SOL_IPV6, IPV6_MULTICAST_LOOP}, Name{SOL_IPV6, IPV6_MULTICAST_IF}, Name{SOL_IPV6, IPV6_MULTICAST_ALL},
    Name{SOL_IPV6, IPV6_MTU_DISCOVER}, Name{SOL_IPV6, IPV6_RECVERR}, Name{SOL_IPV6, IPV6_RECVERR_RFC4884},
    Name{SOL_IPV6, IPV6_RECVPKTINFO}, Name{SOL_IPV6, IPV6_RECVHOPLIMIT}, Name{SOL_IPV6, IPV6_RECVTCLASS}, Name{SOL_IPV6, IPV6_TCLASS},
    Name{SOL_IPV6, IPV6_RECVHOPOPTS}, Name{SOL_IPV6, IPV6_RECVRTHDR}, Name{SOL_IPV6, IPV6_RECVDSTOPTS}, Name{SOL_IPV6, IPV6_RECVPATHMTU},
    Name{SOL_IPV6, kFlowInformation}, Name{SOL_IPV6, kFlowInformationSend}, Name{SOL_IPV6, IPV6_AUTOFLOWLABEL}, Name{SOL_IPV6, IPV6_DONTFRAG},
    Name{SOL_IPV6, IPV6_TRANSPARENT}, Name{SOL_IPV6, IPV6_FREEBIND}, Name{SOL_IPV6, IPV6_RECVORIGDSTADDR},
    Name{SOL_IPV6, IPV6_MINHOPCOUNT}, Name{SOL_IPV6, IPV6_RECVFRAGSIZE}, Name{SOL_IPV6, IPV6_ADDR_PREFERENCES},
    Name{SOL_IPV6, IPV6_UNICAST_IF},
};
constexpr std::array kTcpOptions{
    Name{SOL_TCP, TCP_NODELAY}, Name{SOL_TCP, TCP_CORK}, Name{SOL_TCP, TCP_MAXSEG}, Name{SOL_TCP, TCP_KEEPIDLE},
    Name{SOL_TCP, TCP_KEEPINTVL}, Name{SOL_TCP, TCP_KEEPCNT}, Name{SOL_TCP, TCP_SYNCNT}, Name{SOL_TCP, TCP_LINGER2},
    Name{SOL_TCP, TCP_DEFER_ACCEPT}, Name{SOL_TCP, TCP_WINDOW_CLAMP}, Name{SOL_TCP, TCP_CONGESTION}, Name{SOL_TCP, TCP_USER_TIMEOUT},
    Name{SOL_TCP, TCP_THIN_LINEAR_TIMEOUTS}, Name{SOL_TCP, TCP_FASTOPEN}, Name{SOL_TCP, TCP_FASTOPEN_CONNECT},
    Name{SOL_TCP, TCP_FASTOPEN_NO_COOKIE}, Name{SOL_TCP, TCP_SAVE_SYN}, Name{SOL_TCP, TCP_NOTSENT_LOWAT}, Name{SOL_TCP, TCP_TX_DELAY},
    Name{SOL_TCP, TCP_INQ},
};
constexpr std::array kUdpOptions{
    Name{SOL_UDP, UDP_CORK}, Name{SOL_UDP, UDP_ENCAP}, Name{SOL_UDP, UDP_NO_CHECK6_TX}, Name{SOL_UDP, UDP_NO_CHECK6_RX},
    Name{SOL_UDP, UDP_SEGMENT}, Name{SOL_UDP, UDP_GRO},
};

bool is(const SocketOption& option, int level, int name) { return option.level() == level && option.name() == name; }

/// The value of an option; absent where the socket has no such option. SO_ATTACH_FILTER is asked for in instructions.
std::optional<std::string> value_of(int socket, int level, int name) {
  std::array<char, kLargestOption> value{};
  socklen_t size = value.size();
  if (level == SOL_SOCKET && name == SO_ATTACH_FILTER) {
    size = 0;
    if (getsockopt(socket, level, name, nullptr, &size) != 0 || size == 0) return {};
    std::string program(size * sizeof(sock_filter), '\0');
    if (getsockopt(socket, level, name, program.data(), &size) != 0) return {};
    return program;
  }
  if (getsockopt(socket, level, name, value.data(), &size) != 0) return {};
  return std::string(value.data(), size);
}

void read_options(int socket, std::span<const Name> names, SocketOptions& options) {
  for (const Name& name : names) {
    auto value = value_of(socket, name.level, name.name);
    if (!value || (name.name == SO_BINDTODEVICE && name.level == SOL_SOCKET && value->empty())) continue;
    SocketOption& option = *options.add_options();
    option.set_level(name.level);
    option.set_name(name.name);
    option.set_value(std::move(*value));
  }
}

Result<void> check_filter(const SocketRecord& socket, const SocketOptions& options) {
  const bool known = std::ranges::any_of(options.options(), [](const SocketOption& option) { return is(option, SOL_SOCKET, SO_ATTACH_FILTER); });
  if (socket.filter == 0 || known) return {};
  return failure("a BPF program filters what the socket receives (SO_ATTACH_BPF): only classic filters can be persisted");
}

/// Whether the kernel sets an option of a connection by itself, as the traffic goes.
bool is_tuned(const SocketOption& option, uint32_t user_locks) {
  constexpr uint32_t kSendBufferLock = 1, kReceiveBufferLock = 2;  // SOCK_SNDBUF_LOCK, SOCK_RCVBUF_LOCK of include/net/sock.h
  if (option.level() == SOL_TCP) return option.name() == TCP_MAXSEG || option.name() == TCP_WINDOW_CLAMP;
  if (option.level() != SOL_SOCKET) return false;
  return (option.name() == SO_SNDBUF && (user_locks & kSendBufferLock) == 0) || (option.name() == SO_RCVBUF && (user_locks & kReceiveBufferLock) == 0);
}

/// Which names of an option list go in which phase.
OptionPhase phase_of(const SocketOption& option) {
  for (const Name& name : kGenericOptions) {
    if (is(option, name.level, name.name)) return name.phase;
  }
  return OptionPhase::early;
}

int set(int socket, const SocketOption& option) {
  const auto put = [&](int name, const void* value, size_t size) {
    return setsockopt(socket, option.level(), name, value, static_cast<socklen_t>(size));
  };
  if (option.level() != SOL_SOCKET) return put(option.name(), option.value().data(), option.value().size());
  if (option.name() == SO_ATTACH_FILTER) {
    std::string program = option.value();
    const sock_fprog filter{static_cast<unsigned short>(program.size() / sizeof(sock_filter)), reinterpret_cast<sock_filter*>(program.data())};
    return put(option.name(), &filter, sizeof filter);
  }
  if (option.name() == SO_SNDBUF || option.name() == SO_RCVBUF) {
    // The kernel doubles what it is given, and tells the double.
    int size = 0;
    std::memcpy(&size, option.value().data(), std::min(sizeof size, option.value().size()));
    size /= 2;
    return put(option.name() == SO_SNDBUF ? SO_SNDBUFFORCE : SO_RCVBUFFORCE, &size, sizeof size);
  }
  return put(option.name(), option.value().data(), option.value().size());
}

}  // namespace

Result<const std::string*> SocketOptionCache::of(const SocketRecord& socket, bool is_connection, const std::function<Result<Fd>()>& duplicate) {
  const auto known = entries_.find(socket.sock);
  if (known != entries_.end() && std::memcmp(&known->second.words, &socket.option_words, sizeof socket.option_words) == 0 &&
      known->second.is_connection == is_connection && known->second.user_locks == socket.user_locks) {
    return &known->second.options;
  }
  const Fd fd = TRY(duplicate());
  SocketOptions options;
  read_options(fd.get(), kGenericOptions, options);
  const bool internet = socket.family == AF_INET || socket.family == AF_INET6;
  if (internet) read_options(fd.get(), kVersion4Options, options);
  if (socket.family == AF_INET6) read_options(fd.get(), kVersion6Options, options);
  if (internet && socket.type == SOCK_STREAM) read_options(fd.get(), kTcpOptions, options);
  if (internet && socket.type == SOCK_DGRAM) read_options(fd.get(), kUdpOptions, options);
  TRY(check_filter(socket, options));
  if (is_connection) {
    auto& all = *options.mutable_options();
    all.erase(std::remove_if(all.begin(), all.end(), [&](const SocketOption& option) { return is_tuned(option, socket.user_locks); }), all.end());
  }
  Entry entry{socket.option_words, is_connection, socket.user_locks, options.SerializeAsString()};
  return &entries_.insert_or_assign(socket.sock, std::move(entry)).first->second.options;
}

Result<std::string> SocketOptionCache::path_of(const SocketRecord& socket, const std::function<Result<std::string>()>& find) {
  const std::array<uint64_t, 3> place{socket.inode_number, socket.unix_path, socket.unix_path_parent};
  auto known = paths_.find(socket.sock);
  if (known == paths_.end() || known->second.place != place) {
    known = paths_.insert_or_assign(socket.sock, Path{place, TRY(find())}).first;
  }
  return known->second.path;
}

void SocketOptionCache::forget_all_but(const std::unordered_set<uint64_t>& socks) {
  const auto is_gone = [&](const auto& entry) { return !socks.contains(entry.first); };
  std::erase_if(paths_, is_gone);
  std::erase_if(entries_, is_gone);
}

Result<void> apply_socket_options(int socket, const std::string& options, OptionPhase phase) {
  SocketOptions parsed;
  if (!parsed.ParseFromString(options)) return failure("the options of a socket are damaged");
  for (const SocketOption& option : parsed.options()) {
    if (phase_of(option) != phase || value_of(socket, option.level(), option.name()) == option.value()) continue;
    if (set(socket, option) != 0) return system_error(fmt::format("set socket option {} of level {}", option.name(), option.level()));
  }
  return {};
}

}  // namespace perdure::posix
