// A bound datagram socket with messages of several senders queued: each tells its sender's name, even of one closed since.
// covers: unix-socket, unix-queue
#include "check.h"
#include <sys/socket.h>
#include <sys/un.h>

static const struct sockaddr_un server_name = {.sun_family = AF_UNIX, .sun_path = "server"};

static int sender(const char* path) {
  const int fd = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  if (path) {
    strcpy(name.sun_path, path);
    MUST(bind(fd, (struct sockaddr*)&name, sizeof name));
  }
  MUST(connect(fd, (const struct sockaddr*)&server_name, sizeof server_name));
  return fd;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(chdir(scratch_directory));
  const int server = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
  MUST(bind(server, (const struct sockaddr*)&server_name, sizeof server_name));
  const int first = sender("first"), second = sender("second"), nameless = sender(NULL);
  CHECK_EQUAL(write(first, "1", 1), 1);
  CHECK_EQUAL(write(second, "2", 1), 1);
  CHECK_EQUAL(write(nameless, "3", 1), 1);
  CHECK_EQUAL(write(first, "4", 1), 1);
  MUST(close(second));
  checkpoint_here();
  const char* const expected[] = {"first", "second", "", "first"};
  for (int i = 0; i < 4; i++) {
    struct sockaddr_un from = {0};
    socklen_t length = sizeof from;
    char text[4] = "";
    CHECK_EQUAL(recvfrom(server, text, sizeof text, MSG_DONTWAIT, (struct sockaddr*)&from, &length), 1);
    CHECK_EQUAL(text[0], '1' + i);
    CHECK(!strcmp(from.sun_path, expected[i]), "message %d is from %s, not %s", i, from.sun_path, expected[i]);
    if (i == 0) CHECK_EQUAL(sendto(server, "back", 4, 0, (struct sockaddr*)&from, length), 4);
  }
  char text[8];
  CHECK_EQUAL(recv(first, text, sizeof text, MSG_DONTWAIT), 4);
  CHECK_EQUAL(write(nameless, "5", 1), 1);
  CHECK_EQUAL(recv(server, text, sizeof text, MSG_DONTWAIT), 1);
  return 0;
}
