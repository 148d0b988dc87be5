// A pipe that is full to the last byte stays so, and has room again only as it is read.
// covers: pipe
#include "check.h"
#include <sys/ioctl.h>

enum { kCapacity = 65536 };

int main(int argc, char** argv) {
  begin(argc, argv);
  int bytes[2], pages[2];
  MUST(pipe2(bytes, O_NONBLOCK));
  MUST(pipe2(pages, O_NONBLOCK));
  char* pattern = malloc(kCapacity);
  fill_pattern(pattern, kCapacity, 2);
  for (int done = 0; done < kCapacity; done += 64) CHECK_EQUAL(write(bytes[1], pattern + done, 64), 64);
  CHECK_EQUAL(write(pages[1], pattern, kCapacity), kCapacity);
  CHECK(write(bytes[1], "x", 1) == -1 && errno == EAGAIN, "the pipe is larger than %d", kCapacity);
  checkpoint_here();
  CHECK(write(bytes[1], "x", 1) == -1 && errno == EAGAIN, "a byte more fits into the full pipe");
  CHECK(write(pages[1], "x", 1) == -1 && errno == EAGAIN, "a byte more fits into the full pipe of pages");
  int unread;
  MUST(ioctl(bytes[0], FIONREAD, &unread));
  CHECK_EQUAL(unread, kCapacity);
  char* found = malloc(kCapacity);
  CHECK_EQUAL(read(bytes[0], found, kCapacity), kCapacity);
  check_pattern("pipe", found, kCapacity, 2);
  CHECK_EQUAL(read(pages[0], found, kCapacity), kCapacity);
  check_pattern("pipe of pages", found, kCapacity, 2);
  CHECK_EQUAL(write(bytes[1], pattern, kCapacity), kCapacity);
  return 0;
}
