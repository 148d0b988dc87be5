// All sixteen 256-bit AVX registers are as they were in a thread that runs in user mode all the time.
// covers: xsave
#include "check.h"

static volatile uint64_t stop;
static volatile uint64_t spinning;
static uint64_t values[64], after[64];

static void* spin(void* argument) {
  (void)argument;
  __asm__ volatile(
      "vmovdqu 0+%[values], %%ymm0\n" "vmovdqu 32+%[values], %%ymm1\n" "vmovdqu 64+%[values], %%ymm2\n" "vmovdqu 96+%[values], %%ymm3\n"
      "vmovdqu 128+%[values], %%ymm4\n" "vmovdqu 160+%[values], %%ymm5\n" "vmovdqu 192+%[values], %%ymm6\n" "vmovdqu 224+%[values], %%ymm7\n"
      "vmovdqu 256+%[values], %%ymm8\n" "vmovdqu 288+%[values], %%ymm9\n" "vmovdqu 320+%[values], %%ymm10\n" "vmovdqu 352+%[values], %%ymm11\n"
      "vmovdqu 384+%[values], %%ymm12\n" "vmovdqu 416+%[values], %%ymm13\n" "vmovdqu 448+%[values], %%ymm14\n" "vmovdqu 480+%[values], %%ymm15\n"
     "movq $1, %[spinning]\n"
      "1: pause\n"
      "cmpq $0, %[stop]\n"
      "je 1b\n"
      "vmovdqu %%ymm0, 0+%[after]\n" "vmovdqu %%ymm1, 32+%[after]\n" "vmovdqu %%ymm2, 64+%[after]\n" "vmovdqu %%ymm3, 96+%[after]\n"
      "vmovdqu %%ymm4, 128+%[after]\n" "vmovdqu %%ymm5, 160+%[after]\n" "vmovdqu %%ymm6, 192+%[after]\n" "vmovdqu %%ymm7, 224+%[after]\n"
      "vmovdqu %%ymm8, 256+%[after]\n" "vmovdqu %%ymm9, 288+%[after]\n" "vmovdqu %%ymm10, 320+%[after]\n" "vmovdqu %%ymm11, 352+%[after]\n"
      "vmovdqu %%ymm12, 384+%[after]\n" "vmovdqu %%ymm13, 416+%[after]\n" "vmovdqu %%ymm14, 448+%[after]\n" "vmovdqu %%ymm15, 480+%[after]\n"
     "vzeroupper\n"
      : [spinning] "=m"(spinning), [after] "=m"(after)
      : [values] "m"(values), [stop] "m"(stop)
      : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  if (!__builtin_cpu_supports("avx")) SKIP("no AVX here");
  fill_pattern(values, sizeof values, 11);
  pthread_t thread = start_thread(spin, NULL);
  while (!spinning) sleep_ms(1);
  checkpoint_here();
  stop = 1;
  pthread_join(thread, NULL);
  check_pattern("AVX registers", after, sizeof after, 11);
  return 0;
}
