// A netlink socket, as the C library's interface functions leave none behind but daemons do, is refused by name and goes on to answer.
// refused: (?i:netlink)
#include "check.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  struct sockaddr_nl name = {.nl_family = AF_NETLINK}, found = {0};
  MUST(bind(fd, (struct sockaddr*)&name, sizeof name));
  socklen_t length = sizeof name;
  MUST(getsockname(fd, (struct sockaddr*)&name, &length));
  checkpoint_here();
  length = sizeof found;
  MUST(getsockname(fd, (struct sockaddr*)&found, &length));
  CHECK_EQUAL(found.nl_pid, name.nl_pid);
  const struct {
    struct nlmsghdr header;
    struct rtgenmsg body;
  } request = {{sizeof request, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
  CHECK_EQUAL(send(fd, &request, sizeof request, 0), sizeof request);
  char answer[32768];
  CHECK(recv(fd, answer, sizeof answer, 0) > 0, "no answer");
  return 0;
}
