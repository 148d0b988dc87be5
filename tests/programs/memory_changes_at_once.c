// What a program does to its memory right after it was resumed is done to the memory that it had: it gives back, moves, unmaps, and hands on to a child.
// covers: memory-private
#include "check.h"

enum { kPage = 4096, kParts = 8, kPart = 8 << 20 };

/// Every page says which it is.
static void put_marks(char* memory, int part) {
  for (int at = 0; at < kPart; at += kPage) *(uint64_t*)(memory + at) = ((uint64_t)part << 32) + (uint64_t)at + 1;
}

static void check_marks(const char* what, const char* memory, int part, int from, int to) {
  for (int at = to - kPage; at >= from; at -= kPage)
    CHECK(*(const uint64_t*)(memory + at) == ((uint64_t)part << 32) + (uint64_t)at + 1, "%s, %d of part %d: %llx", what, at, part, *(const unsigned long long*)(memory + at));
}

static void check_zeros(const char* what, const char* memory, int from, int to) {
  for (int at = from; at < to; at += kPage) CHECK(*(const uint64_t*)(memory + at) == 0, "%s, %d", what, at);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  char* parts[kParts];
  for (int i = 0; i < kParts; ++i) {
    parts[i] = mmap(NULL, 2 * kPart, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(parts[i] != MAP_FAILED, "mmap");
    MUST(mprotect(parts[i] + kPart, kPart, PROT_NONE));  // neighbours do not become one
    put_marks(parts[i], i);
  }
  int pipe_ends[2];
  MUST(pipe(pipe_ends));
  checkpoint_here();

  MUST(madvise(parts[0] + kPart / 4, kPart / 2, MADV_DONTNEED));
  char* moved = mremap(parts[1], kPart, kPart, MREMAP_MAYMOVE | MREMAP_FIXED, parts[2]);
  CHECK(moved == parts[2], "mremap");
  MUST(munmap(parts[3], kPart / 2));
  char* anew = mmap(parts[3], kPart / 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(anew == parts[3], "mmap");
  const pid_t child = MUST(fork());
  if (child == 0) {
    check_marks("child, as it was", parts[5], 5, 0, kPart);
    check_zeros("child, given back", parts[0], kPart / 4, kPart / 4 * 3);
    check_marks("child, moved", parts[2], 1, 0, kPart);
    MUST(madvise(parts[6], kPart, MADV_DONTNEED));
    check_zeros("child, given back by itself", parts[6], 0, kPart);
    _exit(0);
  }
  // The kernel reads memory that nobody has touched yet.
  CHECK_EQUAL(write(pipe_ends[1], parts[7] + kPart / 2, 64), 64);
  uint64_t first = 0;
  CHECK_EQUAL(read(pipe_ends[0], &first, sizeof first), sizeof first);
  CHECK(first == ((uint64_t)7 << 32) + kPart / 2 + 1, "%llx", (unsigned long long)first);
  CHECK_EQUAL(read(pipe_ends[0], parts[7] + kPart / 4 + 8, 56), 56);
  check_zeros("given back", parts[0], kPart / 4, kPart / 4 * 3);
  check_marks("before", parts[0], 0, 0, kPart / 4);
  check_marks("behind", parts[0], 0, kPart / 4 * 3, kPart);
  check_marks("moved", parts[2], 1, 0, kPart);
  check_zeros("mapped anew", parts[3], 0, kPart / 2);
  check_marks("still mapped", parts[3], 3, kPart / 2, kPart);
  for (int i = 4; i < kParts; ++i) check_marks("as it was", parts[i], i, 0, kPart);
  int status = 0;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(status, 0);
  return 0;
}
