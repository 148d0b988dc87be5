// A thread that executes 32-bit code is refused.
// refused: 32-bit
#include "check.h"

static char* code;

/// Jumps to the code segment of 32-bit programs, where the thread goes round for ever.
static void* thread(void* argument) {
  mark("thread");
  const struct {
    uint32_t offset;
    uint16_t segment;
  } __attribute__((packed)) target = {(uint32_t)(uintptr_t)code, 0x23};
  __asm__ volatile("ljmpl *%0" : : "m"(target));
  return argument;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  if (access("/proc/sys/abi/vsyscall32", F_OK) != 0) SKIP("no 32-bit programs here");
  code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  CHECK(code != MAP_FAILED, "mmap");
  memcpy(code, "\x90\xeb\xfd", 3);  // nop, and a jump back to it
  start_thread(thread, NULL);
  wait_mark("thread");
  sleep_ms(100);
  checkpoint_here();
  return 0;
}
