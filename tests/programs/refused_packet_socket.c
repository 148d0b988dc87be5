// A raw packet socket is refused by name, and the program runs on.
// refused: PACKET|packet
#include "check.h"
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <sys/socket.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_LOOP));
  if (fd < 0) SKIP("no packet sockets here");
  checkpoint_here();
  struct stat status;
  MUST(fstat(fd, &status));
  return 0;
}
