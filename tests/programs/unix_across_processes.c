// A server process and three clients, each with a request on its way: every client gets its own answer.
// covers: unix-socket, unix-queue
#include "check.h"
#include <sys/socket.h>
#include <sys/un.h>

enum { kClients = 3 };

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(chdir(scratch_directory));
  const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "server"};
  const int listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(bind(listener, (const struct sockaddr*)&name, sizeof name));
  MUST(listen(listener, kClients));
  pid_t clients[kClients];
  for (int i = 0; i < kClients; i++) {
    clients[i] = MUST(fork());
    if (clients[i] != 0) continue;
    MUST(close(listener));
    const int fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(connect(fd, (const struct sockaddr*)&name, sizeof name));
    CHECK_EQUAL(dprintf(fd, "request %d", i), 9);
    char answer[32] = "", expected[32];
    CHECK(recv(fd, answer, 17, MSG_WAITALL) == 17, "answer %s", answer);
    snprintf(expected, sizeof expected, "answer: request %d", i);
    CHECK(!strcmp(answer, expected), "answer %s, not %s", answer, expected);
    CHECK_EQUAL(read(fd, answer, 1), 0);
    _exit(0);
  }
  int served[kClients];
  for (int i = 0; i < kClients; i++) {
    served[i] = MUST(accept(listener, NULL, NULL));
    char text[32];
    CHECK_EQUAL(recv(served[i], text, 9, MSG_PEEK | MSG_WAITALL), 9);
    CHECK_EQUAL(write(served[i], "answer: ", 8), 8);
  }
  checkpoint_here();
  for (int i = 0; i < kClients; i++) {
    char text[16] = "";
    CHECK_EQUAL(recv(served[i], text, sizeof text, MSG_DONTWAIT), 9);
    CHECK_EQUAL(write(served[i], text, 9), 9);
    MUST(close(served[i]));
  }
  for (int i = 0; i < kClients; i++) expect_child_passes(clients[i]);
  return 0;
}
