// What is done to memory while epochs are refused, since a packet socket is held, is in the next one that is not: pages written, given back, moved,
// mapped anew and unmapped, and a forked child's. What there must be is known without memory.
// covers: memory-private
// rounds: 2
// timeout: 60
#include "check.h"
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <sys/socket.h>

enum { kRounds = 2, kStepsOfRound = 6, kSteps = kRounds * kStepsOfRound, kPage = 4096, kBlock = 8 * kPage, kHalf = kBlock / 2, kSize = kSteps * kBlock };
enum { kFilled = 1, kWritten = 100, kGivenBack = 200, kMapped = 300, kChilds = 400, kParents = 500, kMoved = 600 };

static char *written, *given_back, *mapped, *forked, *moved_from, *moved_to;
static pid_t children[kSteps];

static char* reserve(int protection) { return mmap(NULL, kSize, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

static char* fill(uint64_t seed) {
  char* memory = reserve(PROT_READ | PROT_WRITE);
  CHECK(memory != MAP_FAILED, "mmap");
  for (int step = 0; step < kSteps; step++) fill_pattern(memory + step * kBlock, kBlock, seed);
  return memory;
}

static void check_blocks(const char* what, const char* memory, int from, int to, uint64_t seed, uint64_t seed_per_step) {
  for (int step = from; step < to; step++) check_pattern(what, memory + step * kBlock, kBlock, seed + seed_per_step * step);
}

/// A child of step `step` sees what its parent had written before it was born, its own, and nothing of what came later.
static void be_child(int step, int obstacle) {
  fill_pattern(forked + step * kBlock, kBlock, kChilds + step);
  MUST(close(obstacle));
  char name[32];
  snprintf(name, sizeof name, "written.%d", step);
  mark(name);
  wait_released(kRounds);
  check_blocks("the parent's in the child", forked, 0, step, kParents, 1);
  check_blocks("the child's", forked, step, step + 1, kChilds, 1);
  check_blocks("untouched in the child", forked, step + 1, kSteps, kFilled, 0);
  _exit(0);
}

static void fork_child(int step, int obstacle) {
  children[step] = MUST(fork());
  if (children[step] == 0) be_child(step, obstacle);
  char name[32];
  snprintf(name, sizeof name, "written.%d", step);
  wait_mark(name);
}

/// While epochs are refused. The first half of a block meets another fate than the second.
static void change(int step) {
  const size_t at = (size_t)step * kBlock;
  fill_pattern(written + at, kBlock, kWritten + step);
  MUST(madvise(given_back + at, kBlock, MADV_DONTNEED));
  fill_pattern(given_back + at, kHalf, kGivenBack + step);
  MUST(munmap(mapped + at, kBlock));
  CHECK(mmap(mapped + at, kHalf, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == mapped + at, "mmap");
  fill_pattern(mapped + at, kHalf / 2, kMapped + step);
  CHECK(mremap(moved_from + at, kBlock, kBlock, MREMAP_MAYMOVE | MREMAP_FIXED, moved_to + at) == moved_to + at, "mremap");
  fill_pattern(moved_to + at, kHalf, kMoved + step);
}

static void change_while_refused(int step) {
  const int obstacle = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_LOOP));
  if (obstacle < 0) SKIP("no packet sockets here");
  sleep_ms(20);
  change(step);
  sleep_ms(20);
  fork_child(step, obstacle);
  fill_pattern(forked + step * kBlock, kBlock, kParents + step);
  sleep_ms(20);
  MUST(close(obstacle));
  // Some obstacles follow upon each other, some let epochs through.
  sleep_ms(step % 3 * 30);
}

static void check_all(int steps) {
  static char untouched[kBlock];
  fill_pattern(untouched, kBlock, kFilled);
  check_blocks("written", written, 0, steps, kWritten, 1);
  check_blocks("not written yet", written, steps, kSteps, kFilled, 0);
  check_blocks("shared with children", forked, 0, steps, kParents, 1);
  for (int step = 0; step < steps; step++) {
    const size_t at = (size_t)step * kBlock;
    check_pattern("given back and written", given_back + at, kHalf, kGivenBack + step);
    check_zero("given back", given_back + at + kHalf, kHalf);
    check_pattern("mapped and written", mapped + at, kHalf / 2, kMapped + step);
    check_zero("mapped", mapped + at + kHalf / 2, kHalf / 2);
    CHECK(faults(mapped + at + kHalf, false), "there is memory where there was none in step %d", step);
    CHECK(faults(moved_from + at, false), "what was moved is still there in step %d", step);
    check_pattern("moved and written", moved_to + at, kHalf, kMoved + step);
    CHECK(memcmp(moved_to + at + kHalf, untouched + kHalf, kHalf) == 0, "moved, in step %d", step);
  }
  check_blocks("not given back yet", given_back, steps, kSteps, kFilled, 0);
  check_blocks("not unmapped yet", mapped, steps, kSteps, kFilled, 0);
  check_blocks("not moved yet", moved_from, steps, kSteps, kFilled, 0);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  written = fill(kFilled);
  given_back = fill(kFilled);
  mapped = fill(kFilled);
  forked = fill(kFilled);
  moved_from = fill(kFilled);
  moved_to = reserve(PROT_NONE);
  sleep_ms(100);
  for (int round = 1; round <= kRounds; round++) {
    for (int step = (round - 1) * kStepsOfRound; step < round * kStepsOfRound; step++) change_while_refused(step);
    checkpoint_round(round);
    check_all(round * kStepsOfRound);
  }
  for (int step = 0; step < kSteps; step++) expect_child_passes(children[step]);
  return 0;
}
