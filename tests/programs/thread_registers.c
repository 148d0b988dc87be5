// A thread that runs in user mode all the time finds every general register and the flags as they were.
// covers: registers
#include "check.h"

static volatile uint64_t stop;
static volatile uint64_t spinning;
static volatile bool passed;

static void* spin(void* argument) {
  (void)argument;
  static uint64_t seen[16], saved_stack;
  uint64_t flags;
  __asm__ volatile(
      "mov %%rsp, %[stack]\n"
      "push %%rbp\n"
      "movabs $0x1111111111111111, %%rbx\n"
      "movabs $0x2222222222222222, %%rcx\n"
      "movabs $0x3333333333333333, %%rdx\n"
      "movabs $0x4444444444444444, %%rsi\n"
      "movabs $0x5555555555555555, %%rdi\n"
      "movabs $0x6666666666666666, %%rbp\n"
      "movabs $0x8888888888888888, %%r8\n"
      "movabs $0x9999999999999999, %%r9\n"
      "movabs $0xaaaaaaaaaaaaaaaa, %%r10\n"
      "movabs $0xbbbbbbbbbbbbbbbb, %%r11\n"
      "movabs $0xcccccccccccccccc, %%r12\n"
      "movabs $0xdddddddddddddddd, %%r13\n"
      "movabs $0xeeeeeeeeeeeeeeee, %%r14\n"
      "movabs $0x7777777777777777, %%r15\n"
      "movq $1, %[spinning]\n"
      "std\n"
      "stc\n"
      "1: pause\n"
      "mov %[stop], %%rax\n"
      "lea 1(%%rax), %%rax\n"
      "inc %%rax\n"
      "dec %%rax\n"
      "dec %%rax\n"
      "jz 1b\n"
      "pushf\n"
      "cld\n"
      "mov %%rbx, %[seen]\n"
      "mov %%rcx, 8+%[seen]\n"
      "mov %%rdx, 16+%[seen]\n"
      "mov %%rsi, 24+%[seen]\n"
      "mov %%rdi, 32+%[seen]\n"
      "mov %%rbp, 40+%[seen]\n"
      "mov %%r8, 48+%[seen]\n"
      "mov %%r9, 56+%[seen]\n"
      "mov %%r10, 64+%[seen]\n"
      "mov %%r11, 72+%[seen]\n"
      "mov %%r12, 80+%[seen]\n"
      "mov %%r13, 88+%[seen]\n"
      "mov %%r14, 96+%[seen]\n"
      "mov %%r15, 104+%[seen]\n"
      "pop %%rax\n"
      "pop %%rbp\n"
      "mov %%rsp, 112+%[seen]\n"
      : [seen] "=m"(seen), [stack] "=m"(saved_stack), [spinning] "=m"(spinning), "=&a"(flags)
      : [stop] "m"(stop)
      : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
  static const uint64_t kNibbles[14] = {1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 7};
  for (int i = 0; i < 14; i++) CHECK_EQUAL(seen[i], kNibbles[i] * 0x1111111111111111ull);
  CHECK_EQUAL(seen[14], saved_stack);
  CHECK((flags & 0x400) != 0, "the direction flag is lost: flags 0x%llx", (unsigned long long)flags);
  CHECK((flags & 1) != 0, "the carry flag is lost: flags 0x%llx", (unsigned long long)flags);
  passed = true;
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t thread = start_thread(spin, NULL);
  while (!spinning) sleep_ms(1);
  checkpoint_here();
  stop = 1;
  pthread_join(thread, NULL);
  CHECK(passed, "the thread did not get to its checks");
  return 0;
}
