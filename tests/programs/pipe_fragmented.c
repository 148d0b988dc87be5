// A pipe whose every slot holds a few bytes only (spliced in): its contents stay, and so does what still fits.
// covers: pipe
#include "check.h"

enum { kSlots = 16 };

int main(int argc, char** argv) {
  begin(argc, argv);
  int ends[2];
  MUST(pipe2(ends, O_NONBLOCK));
  const int file = MUST(open(scratch_path("file"), O_RDWR | O_CREAT, 0600));
  char text[256];
  for (int i = 0; i < (int)sizeof text; i++) text[i] = (char)i;
  CHECK_EQUAL(write(file, text, sizeof text), sizeof text);
  loff_t offset = 0;
  for (int i = 0; i < kSlots; i++) CHECK_EQUAL(splice(file, &offset, ends[1], NULL, 7, SPLICE_F_NONBLOCK), 7);
  CHECK(splice(file, &offset, ends[1], NULL, 7, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN, "the pipe has more slots");
  checkpoint_here();
  // The file changes afterwards: what lies in the pipe after a restore is a copy, as a write would have made it.
  char found[256];
  CHECK_EQUAL(read(ends[0], found, sizeof found), 7 * kSlots);
  CHECK(!memcmp(found, text, 7 * kSlots), "the pipe's contents differ");
  CHECK(read(ends[0], found, 1) == -1 && errno == EAGAIN, "the pipe is not empty");
  return 0;
}
