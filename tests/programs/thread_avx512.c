// All thirty-two 512-bit AVX-512 registers and the mask registers are as they were in a thread that runs in user mode all the time.
// covers: xsave
#include "check.h"

static volatile uint64_t stop;
static volatile uint64_t spinning;
static uint64_t values[256], after[256];
static const uint16_t masks[8] = {0, 0x1234, 0x5678, 0x9abc, 0xdef0, 0x0f0f, 0xf0f0, 0xaa55};
static uint16_t masks_after[8];

__attribute__((target("avx512f"))) static void* spin(void* argument) {
  (void)argument;
  __asm__ volatile(
      "vmovdqu64 0+%[values], %%zmm0\n" "vmovdqu64 64+%[values], %%zmm1\n" "vmovdqu64 128+%[values], %%zmm2\n" "vmovdqu64 192+%[values], %%zmm3\n"
      "vmovdqu64 256+%[values], %%zmm4\n" "vmovdqu64 320+%[values], %%zmm5\n" "vmovdqu64 384+%[values], %%zmm6\n" "vmovdqu64 448+%[values], %%zmm7\n"
      "vmovdqu64 512+%[values], %%zmm8\n" "vmovdqu64 576+%[values], %%zmm9\n" "vmovdqu64 640+%[values], %%zmm10\n" "vmovdqu64 704+%[values], %%zmm11\n"
      "vmovdqu64 768+%[values], %%zmm12\n" "vmovdqu64 832+%[values], %%zmm13\n" "vmovdqu64 896+%[values], %%zmm14\n" "vmovdqu64 960+%[values], %%zmm15\n"
      "vmovdqu64 1024+%[values], %%zmm16\n" "vmovdqu64 1088+%[values], %%zmm17\n" "vmovdqu64 1152+%[values], %%zmm18\n" "vmovdqu64 1216+%[values], %%zmm19\n"
      "vmovdqu64 1280+%[values], %%zmm20\n" "vmovdqu64 1344+%[values], %%zmm21\n" "vmovdqu64 1408+%[values], %%zmm22\n" "vmovdqu64 1472+%[values], %%zmm23\n"
      "vmovdqu64 1536+%[values], %%zmm24\n" "vmovdqu64 1600+%[values], %%zmm25\n" "vmovdqu64 1664+%[values], %%zmm26\n" "vmovdqu64 1728+%[values], %%zmm27\n"
      "vmovdqu64 1792+%[values], %%zmm28\n" "vmovdqu64 1856+%[values], %%zmm29\n" "vmovdqu64 1920+%[values], %%zmm30\n" "vmovdqu64 1984+%[values], %%zmm31\n"
      "kmovw 2+%[masks], %%k1\n" "kmovw 4+%[masks], %%k2\n" "kmovw 6+%[masks], %%k3\n" "kmovw 8+%[masks], %%k4\n" "kmovw 10+%[masks], %%k5\n" "kmovw 12+%[masks], %%k6\n" "kmovw 14+%[masks], %%k7\n"
      "movq $1, %[spinning]\n"
      "1: pause\n"
      "cmpq $0, %[stop]\n"
      "je 1b\n"
      "vmovdqu64 %%zmm0, 0+%[after]\n" "vmovdqu64 %%zmm1, 64+%[after]\n" "vmovdqu64 %%zmm2, 128+%[after]\n" "vmovdqu64 %%zmm3, 192+%[after]\n"
      "vmovdqu64 %%zmm4, 256+%[after]\n" "vmovdqu64 %%zmm5, 320+%[after]\n" "vmovdqu64 %%zmm6, 384+%[after]\n" "vmovdqu64 %%zmm7, 448+%[after]\n"
      "vmovdqu64 %%zmm8, 512+%[after]\n" "vmovdqu64 %%zmm9, 576+%[after]\n" "vmovdqu64 %%zmm10, 640+%[after]\n" "vmovdqu64 %%zmm11, 704+%[after]\n"
      "vmovdqu64 %%zmm12, 768+%[after]\n" "vmovdqu64 %%zmm13, 832+%[after]\n" "vmovdqu64 %%zmm14, 896+%[after]\n" "vmovdqu64 %%zmm15, 960+%[after]\n"
      "vmovdqu64 %%zmm16, 1024+%[after]\n" "vmovdqu64 %%zmm17, 1088+%[after]\n" "vmovdqu64 %%zmm18, 1152+%[after]\n" "vmovdqu64 %%zmm19, 1216+%[after]\n"
      "vmovdqu64 %%zmm20, 1280+%[after]\n" "vmovdqu64 %%zmm21, 1344+%[after]\n" "vmovdqu64 %%zmm22, 1408+%[after]\n" "vmovdqu64 %%zmm23, 1472+%[after]\n"
      "vmovdqu64 %%zmm24, 1536+%[after]\n" "vmovdqu64 %%zmm25, 1600+%[after]\n" "vmovdqu64 %%zmm26, 1664+%[after]\n" "vmovdqu64 %%zmm27, 1728+%[after]\n"
      "vmovdqu64 %%zmm28, 1792+%[after]\n" "vmovdqu64 %%zmm29, 1856+%[after]\n" "vmovdqu64 %%zmm30, 1920+%[after]\n" "vmovdqu64 %%zmm31, 1984+%[after]\n"
      "kmovw %%k1, 2+%[masks_after]\n" "kmovw %%k2, 4+%[masks_after]\n" "kmovw %%k3, 6+%[masks_after]\n" "kmovw %%k4, 8+%[masks_after]\n" "kmovw %%k5, 10+%[masks_after]\n" "kmovw %%k6, 12+%[masks_after]\n" "kmovw %%k7, 14+%[masks_after]\n"
      "vzeroupper\n"
      : [spinning] "=m"(spinning), [after] "=m"(after), [masks_after] "=m"(masks_after)
      : [values] "m"(values), [masks] "m"(masks), [stop] "m"(stop)
      : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31",
        "k1", "k2", "k3", "k4", "k5", "k6", "k7");
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  if (!__builtin_cpu_supports("avx512f")) SKIP("no AVX-512 here");
  fill_pattern(values, sizeof values, 12);
  pthread_t thread = start_thread(spin, NULL);
  while (!spinning) sleep_ms(1);
  checkpoint_here();
  stop = 1;
  pthread_join(thread, NULL);
  check_pattern("AVX-512 registers", after, sizeof after, 12);
  for (int i = 1; i < 8; i++) CHECK_EQUAL(masks_after[i], masks[i]);
  return 0;
}
