#include "posix/datagram_queue.h"

#include <fmt/format.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "base/clock.h"
#include "base/fd.h"

namespace perdure::posix {

namespace {

constexpr int64_t kArrivalTimeoutNs = kNanosecondsPerSecond;
constexpr useconds_t kArrivalStepUs = 50;
constexpr uint8_t kTimeToLive = 64;

sockaddr_in version4(const std::string& address) {
  sockaddr_in result{};
  std::memcpy(&result, address.data(), std::min(address.size(), sizeof result));
  return result;
}

sockaddr_in6 version6(const std::string& address) {
  sockaddr_in6 result{};
  std::memcpy(&result, address.data(), std::min(address.size(), sizeof result));
  return result;
}

sa_family_t family_of(const std::string& address) { return version4(address).sin_family; }

/// The internet checksum (RFC 1071).
class Checksum {
 public:
  void add(const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    for (size_t at = 0; at < size; ++at) sum_ += at % 2 == 0 ? uint64_t{bytes[at]} << 8 : bytes[at];
  }
  uint16_t value() const {
    uint64_t folded = sum_;
    while (folded >> 16 != 0) folded = (folded & 0xffff) + (folded >> 16);
    const auto complement = static_cast<uint16_t>(~folded);
    return htons(complement == 0 ? 0xffff : complement);
  }

 private:
  uint64_t sum_ = 0;
};

/// Addresses that only a group of machines has are replaced by the loopback interface's: nobody else is to receive the datagram again.
sockaddr_in receiver4(const Datagram& datagram) {
  sockaddr_in receiver = version4(datagram.receiver());
  const uint32_t address = ntohl(receiver.sin_addr.s_addr);
  if (IN_MULTICAST(address) || address == INADDR_BROADCAST) receiver.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return receiver;
}

sockaddr_in6 receiver6(const Datagram& datagram) {
  sockaddr_in6 receiver = version6(datagram.receiver());
  if (IN6_IS_ADDR_MULTICAST(&receiver.sin6_addr)) receiver.sin6_addr = in6addr_loopback;
  return receiver;
}

udphdr transport_header(const sockaddr_in6& ports_of_sender, uint16_t receiver_port, size_t size) {
  udphdr header{};
  header.source = ports_of_sender.sin6_port;  // in the same place in sockaddr_in
  header.dest = receiver_port;
  header.len = htons(static_cast<uint16_t>(sizeof header + size));
  return header;
}

std::string packet4(const Datagram& datagram) {
  const sockaddr_in receiver = receiver4(datagram);
  iphdr network{};
  network.version = 4;
  network.ihl = sizeof network / 4;
  network.ttl = kTimeToLive;
  network.protocol = IPPROTO_UDP;
  network.saddr = version4(datagram.sender()).sin_addr.s_addr;
  network.daddr = receiver.sin_addr.s_addr;
  network.tot_len = htons(static_cast<uint16_t>(sizeof network + sizeof(udphdr) + datagram.data().size()));
  // No checksum (which IPv4 allows): the packet never leaves the machine.
  const udphdr transport = transport_header(version6(datagram.sender()), receiver.sin_port, datagram.data().size());
  std::string packet(reinterpret_cast<const char*>(&network), sizeof network);
  packet.append(reinterpret_cast<const char*>(&transport), sizeof transport);
  return packet + datagram.data();
}

std::string packet6(const Datagram& datagram) {
  const sockaddr_in6 sender = version6(datagram.sender());
  const sockaddr_in6 receiver = receiver6(datagram);
  ip6_hdr network{};
  network.ip6_flow = htonl(6u << 28);
  network.ip6_nxt = IPPROTO_UDP;
  network.ip6_hlim = kTimeToLive;
  network.ip6_src = sender.sin6_addr;
  network.ip6_dst = receiver.sin6_addr;
  network.ip6_plen = htons(static_cast<uint16_t>(sizeof(udphdr) + datagram.data().size()));
  udphdr transport = transport_header(sender, receiver.sin6_port, datagram.data().size());
  Checksum sum;
  const std::array<uint8_t, 2> protocol{0, IPPROTO_UDP};
  sum.add(&network.ip6_src, sizeof network.ip6_src);
  sum.add(&network.ip6_dst, sizeof network.ip6_dst);
  sum.add(&transport.len, sizeof transport.len);
  sum.add(protocol.data(), protocol.size());
  sum.add(&transport, sizeof transport);
  sum.add(datagram.data().data(), datagram.data().size());
  transport.check = sum.value();
  std::string packet(reinterpret_cast<const char*>(&network), sizeof network);
  packet.append(reinterpret_cast<const char*>(&transport), sizeof transport);
  return packet + datagram.data();
}

Result<uint32_t> queued_memory(int socket) {
  std::array<uint32_t, SK_MEMINFO_VARS> information{};
  socklen_t size = sizeof information;
  if (getsockopt(socket, SOL_SOCKET, SO_MEMINFO, information.data(), &size) != 0) return system_error("ask what a socket has queued");
  return information[SK_MEMINFO_RMEM_ALLOC];
}

Result<void> await_arrival(int socket, uint32_t before) {
  for (const int64_t deadline_ns = monotonic_ns() + kArrivalTimeoutNs; monotonic_ns() < deadline_ns; usleep(kArrivalStepUs)) {
    if (TRY(queued_memory(socket)) > before) return {};
  }
  return failure("a datagram that was queued did not arrive again: does a firewall rule for the loopback interface drop it?");
}

/// Of several sockets on one port, the one that is connected to the sender gets what they send.
void prefer_over_others(int socket, const InetSocket& record, const Datagram& datagram) {
  const std::string& sender = datagram.sender();
  if (family_of(sender) != record.family()) return;
  (void)::connect(socket, reinterpret_cast<const sockaddr*>(sender.data()), static_cast<socklen_t>(sender.size()));
}

void disconnect(int socket) {
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  (void)::connect(socket, &nobody, sizeof nobody);
}

Result<void> resend(int socket, const InetSocket& record, const Datagram& datagram) {
  const bool four = family_of(datagram.sender()) == AF_INET;
  const Fd raw(::socket(four ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!raw) return system_error("make a raw socket");
  const std::string packet = four ? packet4(datagram) : packet6(datagram);
  const uint32_t before = TRY(queued_memory(socket));
  prefer_over_others(socket, record, datagram);
  ssize_t sent = 0;
  if (four) {
    sockaddr_in to = receiver4(datagram);
    to.sin_port = 0;
    sent = sendto(raw.get(), packet.data(), packet.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  } else {
    sockaddr_in6 to = receiver6(datagram);
    to.sin6_port = 0;
    sent = sendto(raw.get(), packet.data(), packet.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }
  auto arrived = sent < 0 ? system_error("send a datagram again") : await_arrival(socket, before);
  disconnect(socket);
  return arrived;
}

}  // namespace

void record_datagrams(const SocketQueue& queue, InetSocket& socket) {
  for (const SocketMessageRecord* message : queue.messages) {
    Datagram& datagram = *socket.add_datagrams();
    datagram.set_data(message_bytes(*message).data(), message->length);
    datagram.set_sender(message->sender_name, message->sender_name_length);
    datagram.set_receiver(message->receiver_name, message->sender_name_length);
  }
}

Result<void> resend_datagrams(int socket, const InetSocket& record) {
  for (const Datagram& datagram : record.datagrams()) TRY(resend(socket, record, datagram));
  return {};
}

}  // namespace perdure::posix
