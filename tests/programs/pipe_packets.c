// A pipe in packet mode (O_DIRECT) keeps the boundaries of its packets; packets from before the mode was left stay packets.
// covers: pipe
#include "check.h"

static void expect_packet(int fd, const char* expected) {
  char found[64] = "";
  CHECK_EQUAL(read(fd, found, sizeof found - 1), strlen(expected));
  CHECK(!strcmp(found, expected), "packet %s, not %s", found, expected);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  int packets[2], mixed[2];
  MUST(pipe2(packets, O_DIRECT | O_NONBLOCK));
  MUST(pipe2(mixed, O_DIRECT));
  const char* const contents[] = {"a", "bcd", "efghijk", "l", "mn"};
  for (int i = 0; i < 5; i++) CHECK_EQUAL(write(packets[1], contents[i], strlen(contents[i])), strlen(contents[i]));
  CHECK_EQUAL(write(mixed[1], "packet", 6), 6);
  MUST(fcntl(mixed[1], F_SETFL, 0));
  CHECK_EQUAL(write(mixed[1], "str", 3), 3);
  CHECK_EQUAL(write(mixed[1], "eam", 3), 3);
  checkpoint_here();
  CHECK(MUST(fcntl(packets[1], F_GETFL)) & O_DIRECT, "the packet mode is gone");
  CHECK_EQUAL(MUST(fcntl(mixed[1], F_GETFL)) & O_DIRECT, 0);
  for (int i = 0; i < 5; i++) expect_packet(packets[0], contents[i]);
  char text[4];
  CHECK(read(packets[0], text, 1) == -1 && errno == EAGAIN, "one packet more");
  CHECK_EQUAL(write(packets[1], "xyz", 3), 3);
  CHECK_EQUAL(write(packets[1], "uvw", 3), 3);
  CHECK_EQUAL(read(packets[0], text, 1), 1);  // the rest of a packet is discarded
  expect_packet(packets[0], "uvw");
  expect_packet(mixed[0], "packet");
  expect_packet(mixed[0], "stream");
  return 0;
}
