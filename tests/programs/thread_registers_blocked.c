// A thread asleep in a system call finds every register but those that the call changes as they were, SSE registers included.
// covers: registers
#include <linux/futex.h>

#include "check.h"

static uint32_t word;
static volatile pid_t tid;

static void* wait_in_futex(void* argument) {
  (void)argument;
  static uint64_t seen[14];
  static double doubles[16];
  static double doubles_after[16];
  long result;
  for (int i = 0; i < 16; i++) doubles[i] = 1.5 * i + 0.1;
  tid = gettid();
  __asm__ volatile(
      "push %%rbp\n"
      "movsd 0+%[doubles], %%xmm0\n" "movsd 8+%[doubles], %%xmm1\n" "movsd 16+%[doubles], %%xmm2\n" "movsd 24+%[doubles], %%xmm3\n"
      "movsd 32+%[doubles], %%xmm4\n" "movsd 40+%[doubles], %%xmm5\n" "movsd 48+%[doubles], %%xmm6\n" "movsd 56+%[doubles], %%xmm7\n"
      "movsd 64+%[doubles], %%xmm8\n" "movsd 72+%[doubles], %%xmm9\n" "movsd 80+%[doubles], %%xmm10\n" "movsd 88+%[doubles], %%xmm11\n"
      "movsd 96+%[doubles], %%xmm12\n" "movsd 104+%[doubles], %%xmm13\n" "movsd 112+%[doubles], %%xmm14\n" "movsd 120+%[doubles], %%xmm15\n"
      "lea %[word], %%rdi\n"
      "mov %[operation], %%rsi\n"
      "xor %%edx, %%edx\n"
      "xor %%r10d, %%r10d\n"
      "movabs $0x1111111111111111, %%rbx\n"
      "movabs $0x6666666666666666, %%rbp\n"
      "movabs $0x8888888888888888, %%r8\n"
      "movabs $0x9999999999999999, %%r9\n"
      "movabs $0xcccccccccccccccc, %%r12\n"
      "movabs $0xdddddddddddddddd, %%r13\n"
      "movabs $0xeeeeeeeeeeeeeeee, %%r14\n"
      "movabs $0x7777777777777777, %%r15\n"
      "mov %[number], %%rax\n"
      "syscall\n"
      "mov %%rbx, %[seen]\n"
      "mov %%rbp, 8+%[seen]\n"
      "mov %%r8, 16+%[seen]\n"
      "mov %%r9, 24+%[seen]\n"
      "mov %%r12, 32+%[seen]\n"
      "mov %%r13, 40+%[seen]\n"
      "mov %%r14, 48+%[seen]\n"
      "mov %%r15, 56+%[seen]\n"
      "mov %%rsi, 64+%[seen]\n"
      "mov %%rdx, 72+%[seen]\n"
      "mov %%r10, 80+%[seen]\n"
      "movsd %%xmm0, 0+%[after]\n" "movsd %%xmm1, 8+%[after]\n" "movsd %%xmm2, 16+%[after]\n" "movsd %%xmm3, 24+%[after]\n"
      "movsd %%xmm4, 32+%[after]\n" "movsd %%xmm5, 40+%[after]\n" "movsd %%xmm6, 48+%[after]\n" "movsd %%xmm7, 56+%[after]\n"
      "movsd %%xmm8, 64+%[after]\n" "movsd %%xmm9, 72+%[after]\n" "movsd %%xmm10, 80+%[after]\n" "movsd %%xmm11, 88+%[after]\n"
      "movsd %%xmm12, 96+%[after]\n" "movsd %%xmm13, 104+%[after]\n" "movsd %%xmm14, 112+%[after]\n" "movsd %%xmm15, 120+%[after]\n"
      "pop %%rbp\n"
      : [seen] "=m"(seen), [after] "=m"(doubles_after), "=&a"(result), [word] "+m"(word)
      : [doubles] "m"(doubles), [operation] "i"(FUTEX_WAIT_PRIVATE), [number] "i"(SYS_futex)
      : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
        "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");
  CHECK_EQUAL(result, 0);
  static const uint64_t kNibbles[8] = {1, 6, 8, 9, 12, 13, 14, 7};
  for (int i = 0; i < 8; i++) CHECK_EQUAL(seen[i], kNibbles[i] * 0x1111111111111111ull);
  CHECK_EQUAL(seen[8], FUTEX_WAIT_PRIVATE);
  CHECK_EQUAL(seen[9], 0);
  CHECK_EQUAL(seen[10], 0);
  for (int i = 0; i < 16; i++) CHECK(doubles[i] == doubles_after[i], "xmm%d: %g, not %g", i, doubles_after[i], doubles[i]);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t thread = start_thread(wait_in_futex, NULL);
  while (tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), tid, SYS_futex);
  checkpoint_here();
  wait_asleep_in(getpid(), tid, SYS_futex);
  word = 1;
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1);
  pthread_join(thread, NULL);
  return 0;
}
