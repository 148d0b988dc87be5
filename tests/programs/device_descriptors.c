// The devices without state: null, zero, full, random, urandom.
// covers: descriptors
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int null = MUST(open("/dev/null", O_RDWR));
  const int zero = MUST(open("/dev/zero", O_RDWR));
  const int full = MUST(open("/dev/full", O_RDWR));
  const int random = MUST(open("/dev/random", O_RDONLY | O_NONBLOCK));
  const int urandom = MUST(open("/dev/urandom", O_RDONLY));
  char* mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
  CHECK(mapped != MAP_FAILED, "mmap of /dev/zero");
  mapped[10] = 'm';
  checkpoint_here();
  char bytes[64];
  CHECK_EQUAL(read(null, bytes, sizeof bytes), 0);
  CHECK_EQUAL(write(null, bytes, sizeof bytes), sizeof bytes);
  CHECK_EQUAL(read(zero, bytes, sizeof bytes), sizeof bytes);
  check_zero("/dev/zero", bytes, sizeof bytes);
  CHECK(write(full, "x", 1) == -1 && errno == ENOSPC, "/dev/full has room");
  CHECK_EQUAL(read(random, bytes, sizeof bytes), sizeof bytes);
  CHECK_EQUAL(read(urandom, bytes, sizeof bytes), sizeof bytes);
  CHECK_EQUAL(mapped[10], 'm');
  CHECK_EQUAL(mapped[5000], 0);
  return 0;
}
