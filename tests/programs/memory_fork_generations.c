// A chain of forks, each generation changing some pages of the last one's, is right in every generation.
// covers: memory-private
#include "check.h"

enum { kGenerations = 5, kPages = 256 };

static void generation(uint64_t* memory, int number) {
  for (int page = 0; page < kPages; page++)
    if (page % kGenerations == number) memory[page * 512] = (number + 1) * 1000 + page;
  if (number + 1 < kGenerations) {
    sleep_ms(15);
    const pid_t child = MUST(fork());
    if (child == 0) {
      generation(memory, number + 1);
      _exit(0);
    }
    // What the parent does from now on is not the child's.
    for (int page = 0; page < kPages; page++) memory[page * 512 + 1] = 77 + number;
    wait_released(0);
    for (int page = 0; page < kPages; page++) {
      const int writer = page % kGenerations;
      CHECK_EQUAL(memory[page * 512], writer <= number ? (writer + 1) * 1000 + page : 0);
      CHECK_EQUAL(memory[page * 512 + 1], 77 + number);
    }
    expect_child_passes(child);
    return;
  }
  checkpoint_here();
  for (int page = 0; page < kPages; page++) CHECK_EQUAL(memory[page * 512], (page % kGenerations + 1) * 1000 + page);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  uint64_t* memory = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  generation(memory, 0);
  return 0;
}
