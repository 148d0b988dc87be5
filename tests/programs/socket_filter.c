// A socket's classic BPF filter still decides what it receives.
// covers: udp
#include "inet.h"

#include <linux/filter.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int receiver = bound(SOCK_DGRAM, 0), sender = MUST(socket(AF_INET, SOCK_DGRAM, 0));
  // Accepts datagrams whose first byte is 'y', which follows the 8 bytes of the UDP header.
  struct sock_filter instructions[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'y', 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const struct sock_fprog filter = {sizeof instructions / sizeof *instructions, instructions};
  MUST(setsockopt(receiver, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter));
  const struct sockaddr_in name = loopback(port_of(receiver));
  checkpoint_here();
  CHECK_EQUAL(sendto(sender, "no", 2, 0, (const struct sockaddr*)&name, sizeof name), 2);
  CHECK_EQUAL(sendto(sender, "yes", 3, 0, (const struct sockaddr*)&name, sizeof name), 3);
  char text[4] = "";
  CHECK_EQUAL(recv(receiver, text, sizeof text, 0), 3);
  CHECK(strcmp(text, "yes") == 0, "received %s", text);
  CHECK(recv(receiver, text, sizeof text, MSG_DONTWAIT) == -1, "received more");
  return 0;
}
