// The main stack and a MAP_GROWSDOWN mapping keep their contents and still grow by themselves.
// covers: mappings
#include "check.h"

static uint64_t __attribute__((noinline)) use_stack(int depth) {
  volatile uint64_t frame[512];
  for (int i = 0; i < 512; i++) frame[i] = depth * 1000 + i;
  const uint64_t below = depth == 0 ? 0 : use_stack(depth - 1);
  uint64_t sum = below;
  for (int i = 0; i < 512; i++) sum += frame[i];
  return sum;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const uint64_t shallow = use_stack(20);
  char* room = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(munmap(room, 1 << 20));
  char* growing = mmap(room + (1 << 20) - 8192, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
  CHECK(growing != MAP_FAILED, "mmap");
  for (int page = 0; page < 4; page++) growing[-page * 4096] = 40 + page;
  checkpoint_here();
  for (int page = 0; page < 4; page++) CHECK_EQUAL(growing[-page * 4096], 40 + page);
  for (int page = 4; page < 40; page++) growing[-page * 4096] = page;
  for (int page = 4; page < 40; page++) CHECK_EQUAL(growing[-page * 4096], page);
  CHECK_EQUAL(use_stack(20), shallow);
  CHECK(use_stack(1000) > 0, "a deep stack");
  return 0;
}
