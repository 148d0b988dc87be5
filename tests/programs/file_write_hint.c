// How long what is written to a file is expected to live (F_SET_RW_HINT) comes back, also of a file without a name.
// covers: deleted-file
#include "check.h"

enum { kGetHint = 1035, kSetHint = 1036, kShort = 2, kLong = 4 };

static int open_hinted(const char* name, uint64_t hint) {
  const int fd = MUST(open(scratch_path(name), O_RDWR | O_CREAT, 0600));
  if (fcntl(fd, kSetHint, &hint) == -1) SKIP("no hints here");
  return fd;
}

static void check_hint(int fd, uint64_t expected) {
  uint64_t hint = 0;
  MUST(fcntl(fd, kGetHint, &hint));
  CHECK_EQUAL(hint, expected);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int named = open_hinted("named", kShort), unnamed = open_hinted("unnamed", kLong);
  CHECK_EQUAL(write(unnamed, "text", 4), 4);
  MUST(unlink(scratch_path("unnamed")));
  checkpoint_here();
  check_hint(named, kShort);
  check_hint(unnamed, kLong);
  char text[4];
  CHECK_EQUAL(pread(unnamed, text, sizeof text, 0), 4);
  return 0;
}
