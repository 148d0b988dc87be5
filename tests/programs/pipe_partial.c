// Pipes with some bytes in them, written in many small and in one large piece, the first of them half read.
// covers: pipe
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  int small[2], large[2], empty[2];
  MUST(pipe(small));
  MUST(pipe(large));
  MUST(pipe2(empty, O_NONBLOCK));
  for (int i = 0; i < 20; i++) CHECK_EQUAL(dprintf(small[1], "piece %02d;", i), 9);
  enum { kSize = 40000 };
  char* pattern = malloc(kSize);
  char* found = calloc(1, kSize + 8);
  fill_pattern(pattern, kSize, 1);
  CHECK_EQUAL(write(large[1], pattern, kSize), kSize);
  CHECK_EQUAL(read(small[0], found, 5), 5);
  CHECK_EQUAL(read(large[0], found, 8), 8);
  checkpoint_here();
  char text[16] = "";
  CHECK_EQUAL(read(small[0], text, 4), 4);
  CHECK(!strcmp(text, " 00;"), "read %s", text);
  for (int i = 1; i < 20; i++) {
    char expected[16];
    snprintf(expected, sizeof expected, "piece %02d;", i);
    CHECK_EQUAL(read(small[0], text, 9), 9);
    CHECK(!strcmp(text, expected), "read %s, not %s", text, expected);
  }
  CHECK_EQUAL(read(large[0], found + 8, kSize), kSize - 8);
  memcpy(found, pattern, 8);
  check_pattern("pipe", found, kSize, 1);
  CHECK(read(empty[0], text, 1) == -1 && errno == EAGAIN, "the empty pipe is not empty");
  CHECK_EQUAL(write(empty[1], "x", 1), 1);
  CHECK_EQUAL(read(empty[0], text, 1), 1);
  return 0;
}
