#include "linux/tcp_leftovers.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <vector>

#include "base/fd.h"

namespace perdure {

namespace {

constexpr uint32_t kListeningState = 1u << TCP_LISTEN;
constexpr size_t kAnswerSize = 32768;

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

Result<void> ask(int netlink, uint16_t type, uint16_t flags, const inet_diag_req_v2& body) {
  Request request{{sizeof request, type, static_cast<uint16_t>(NLM_F_REQUEST | flags), 0, 0}, body};
  if (send(netlink, &request, sizeof request, 0) != sizeof request) return system_error("ask the kernel for TCP connections");
  return {};
}

/// Those of one family; true when the dump is over.
Result<bool> read_answer(int netlink, uint16_t local_port, std::vector<inet_diag_msg>& found) {
  alignas(nlmsghdr) std::array<char, kAnswerSize> answer;
  const ssize_t size = recv(netlink, answer.data(), answer.size(), 0);
  if (size < 0) return system_error("read the kernel's TCP connections");
  auto left = static_cast<unsigned>(size);
  for (auto* header = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
    if (header->nlmsg_type == NLMSG_DONE) return true;
    if (header->nlmsg_type == NLMSG_ERROR) return failure("the kernel does not tell its TCP connections");
    const auto& connection = *static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
    if (connection.id.idiag_sport == htons(local_port) && connection.idiag_inode == 0) found.push_back(connection);
  }
  return false;
}

}  // namespace

Result<void> end_tcp_leftovers(uint16_t local_port) {
  const Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return system_error("make a netlink socket");
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    inet_diag_req_v2 body{};
    body.sdiag_family = family;
    body.sdiag_protocol = IPPROTO_TCP;
    body.idiag_states = ~kListeningState;
    TRY(ask(netlink.get(), SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, body));
    std::vector<inet_diag_msg> found;
    while (!TRY(read_answer(netlink.get(), local_port, found))) {
    }
    for (const inet_diag_msg& connection : found) {
      body.id = connection.id;
      body.idiag_states = ~0u;
      TRY(ask(netlink.get(), SOCK_DESTROY, NLM_F_ACK, body));
      alignas(nlmsghdr) std::array<char, 1024> acknowledgement;
      // It may have ended by itself.
      (void)recv(netlink.get(), acknowledgement.data(), acknowledgement.size(), 0);
    }
  }
  return {};
}

}  // namespace perdure
