// The FS base (thread-local storage) and the GS base, which a program may use as it likes, are as they were in each thread.
// covers: registers
#include <asm/prctl.h>

#include "check.h"

static volatile int ready_count;
static volatile bool done;
static __thread int local;

static void check_thread(intptr_t number) {
  static uint64_t areas[3];
  uint64_t fs_before, fs_after, gs, through_gs;
  areas[number] = 0xabcd0000 + number;
  local = 100 + number;
  MUST(syscall(SYS_arch_prctl, ARCH_SET_GS, &areas[number]));
  MUST(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_before));
  __atomic_add_fetch(&ready_count, 1, __ATOMIC_SEQ_CST);
  if (number == 0) {
    while (ready_count < 3) sleep_ms(1);
    checkpoint_here();
    done = true;
  }
  while (!done) sleep_ms(1);
  MUST(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_after));
  MUST(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
  __asm__ volatile("mov %%gs:0, %0" : "=r"(through_gs));
  CHECK_EQUAL(fs_after, fs_before);
  CHECK_EQUAL(gs, (uintptr_t)&areas[number]);
  CHECK_EQUAL(through_gs, areas[number]);
  CHECK_EQUAL(local, 100 + number);
}

static void* thread(void* argument) {
  check_thread((intptr_t)argument);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t threads[2] = {start_thread(thread, (void*)1), start_thread(thread, (void*)2)};
  check_thread(0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  return 0;
}
