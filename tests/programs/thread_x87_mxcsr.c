// The x87 stack with 80-bit values, its control word, and MXCSR's rounding mode and flags are as they were, held across the checkpoint.
// covers: xsave
#include "check.h"

static volatile uint64_t stop;
static volatile uint64_t spinning;

static void* spin(void* argument) {
  (void)argument;
  // Round up, precision 64 bit, all exceptions masked; the same for SSE with flush to zero.
  const uint16_t control = 0x0b7f;
  const uint32_t mxcsr = 0xdf80 | 0x20;
  uint16_t control_after = 0, status_after = 0;
  uint32_t mxcsr_after = 0;
  long double pi = 0, one = 0;
  __asm__ volatile(
      "fninit\n"
      "fldcw %[control]\n"
      "ldmxcsr %[mxcsr]\n"
      "fldpi\n"
      "fld1\n"
      "movq $1, %[spinning]\n"
      "1: pause\n"
      "cmpq $0, %[stop]\n"
      "je 1b\n"
      "fnstsw %[status_after]\n"
      "fstpt %[one]\n"
      "fstpt %[pi]\n"
      "fnstcw %[control_after]\n"
      "stmxcsr %[mxcsr_after]\n"
      : [spinning] "=m"(spinning), [one] "=m"(one), [pi] "=m"(pi), [control_after] "=m"(control_after), [status_after] "=m"(status_after),
        [mxcsr_after] "=m"(mxcsr_after)
      : [control] "m"(control), [mxcsr] "m"(mxcsr), [stop] "m"(stop)
      : "memory", "cc");
  const uint32_t usual_mxcsr = 0x1f80;
  __asm__ volatile("fninit\nldmxcsr %0" : : "m"(usual_mxcsr));
  CHECK_EQUAL(control_after, control);
  CHECK_EQUAL(mxcsr_after, mxcsr);
  CHECK_EQUAL(status_after >> 11 & 7, 6);
  uint64_t pi_mantissa;
  memcpy(&pi_mantissa, &pi, sizeof pi_mantissa);
  CHECK_EQUAL(pi_mantissa, 0xc90fdaa22168c235ull);
  CHECK(one == 1.0L, "1 is %Lg", one);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t thread = start_thread(spin, NULL);
  while (!spinning) sleep_ms(1);
  checkpoint_here();
  stop = 1;
  pthread_join(thread, NULL);
  return 0;
}
