// Memory that changes a little in every epoch, in random places, is right after each of several crashes in a row.
// covers: memory-private
// rounds: 4
// timeout: 60
#include "check.h"

enum { kPages = 8192, kPageSize = 4096 };
static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

/// Each page holds its own number and how often it was written, twice; the counts are kept in another place.
static void write_some(uint64_t* memory, uint32_t* counts, int pages) {
  for (int i = 0; i < pages; i++) {
    const uint64_t page = next_random() % kPages;
    uint64_t* words = memory + page * (kPageSize / 8);
    counts[page]++;
    words[page % 512] = page << 32 | counts[page];
    words[511 - page % 512] = page << 32 | counts[page];
  }
}

static void check_all(const uint64_t* memory, const uint32_t* counts) {
  for (uint64_t page = 0; page < kPages; page++) {
    const uint64_t expected = counts[page] == 0 ? 0 : page << 32 | counts[page];
    const uint64_t* words = memory + page * (kPageSize / 8);
    CHECK(words[page % 512] == expected && words[511 - page % 512] == expected, "page %llu: 0x%llx and 0x%llx, not 0x%llx", (unsigned long long)page,
          (unsigned long long)words[page % 512], (unsigned long long)words[511 - page % 512], (unsigned long long)expected);
  }
}

int main(int argc, char** argv) {
  begin(argc, argv);
  uint64_t* memory = mmap(NULL, (size_t)kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint32_t* counts = calloc(kPages, sizeof *counts);
  for (int round = 1; round <= 4; round++) {
    for (int epoch = 0; epoch < 30; epoch++) {
      write_some(memory, counts, 50);
      sleep_ms(2);
    }
    announce_ready(round);
    while (!is_released(round)) {
      write_some(memory, counts, 20);
      sleep_ms(1);
    }
    check_all(memory, counts);
  }
  return 0;
}
