// A socket that is a member of a multicast group is refused.
// refused: (?i)multicast
#include "inet.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = bound(SOCK_DGRAM, 0);
  struct ip_mreqn membership = {.imr_ifindex = 1};
  inet_pton(AF_INET, "239.1.2.3", &membership.imr_multiaddr);
  if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership, sizeof membership) == -1) SKIP("no multicast here: %s", strerror(errno));
  checkpoint_here();
  MUST(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &membership, sizeof membership));
  return 0;
}
