// Much is written all the time, so that it is copied ahead of the pauses, while pages are given back, mapped anew, and shared with children that are forked,
// and a stack grows.
// covers: memory-private
// timeout: 120
#include "check.h"

enum { kPages = 4096, kWrites = 150, kAnew = 64, kForkEvery = 30, kChildWrites = 400, kStackPages = 1500 };
static uint64_t* memory;
static uint64_t* stack;  // its top page; it has grown by stack_pages
static int stack_pages;
static uint64_t model[kPages];  // what the first word of each page should be
static uint64_t number = 1;
static uint64_t steps;
static pid_t child;

static uint64_t next_random(void) {
  number ^= number << 13;
  number ^= number >> 7;
  number ^= number << 17;
  return number;
}

static void write_some(int count) {
  for (int i = 0; i < count; i++) {
    const uint64_t page = next_random() % kPages;
    model[page] = number;
    memory[page * 512] = number;
  }
}

static void check_all(void) {
  for (int page = 0; page < kPages; page++) CHECK_EQUAL(memory[page * 512], model[page]);
  for (int page = 0; page <= stack_pages; page++) CHECK_EQUAL(stack[-page * 512], page + 1);
}

static void be_child(void) {
  for (int turn = 0; turn < 4; turn++) {
    write_some(kChildWrites / 4);
    sleep_ms(3);
  }
  check_all();
  _exit(0);
}

static void step(void* argument) {
  (void)argument;
  steps++;
  write_some(kWrites);
  if (stack_pages < kStackPages) {
    stack_pages++;
    stack[-stack_pages * 512] = (uint64_t)stack_pages + 1;
  }
  const uint64_t gone = next_random() % kPages;
  madvise(memory + gone * 512, 4096, MADV_DONTNEED);
  model[gone] = 0;
  // It is there again, and the zero page; a child that was forked before has what was there.
  CHECK_EQUAL(((volatile uint64_t*)memory)[gone * 512], 0);
  if (steps % 7 == 0) {
    const uint64_t first = next_random() % (kPages / kAnew) * kAnew;
    CHECK(mmap(memory + first * 512, kAnew * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED, "mmap");
    memset(model + first, 0, kAnew * sizeof *model);
  }
  if (steps % kForkEvery == 0) {
    if (child != 0) expect_child_passes(child);
    child = MUST(fork());
    if (child == 0) be_child();
  }
  usleep(300);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  memory = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(memory, kPages * 4096, MADV_NOHUGEPAGE);
  char* room = mmap(NULL, 16 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(munmap(room, 16 << 20));
  stack = mmap(room + (16 << 20) - 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
  CHECK(stack != MAP_FAILED, "mmap");
  *stack = 1;
  for (int i = 0; i < 1500; i++) step(NULL);
  checkpoint_while(step, NULL);
  check_all();
  if (child != 0) expect_child_passes(child);
  return 0;
}
