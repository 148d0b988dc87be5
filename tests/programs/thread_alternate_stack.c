// The alternate signal stack comes back with its flags, and a handler runs on it.
// covers: signal-handlers
#include "check.h"

static char* stack;
static const size_t kStackSize = 1 << 16;
static volatile bool on_stack;

static void on_signal(int number) {
  (void)number;
  char here;
  on_stack = &here >= stack && &here < stack + kStackSize;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  stack = mmap(NULL, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const stack_t alternate = {.ss_sp = stack, .ss_size = kStackSize, .ss_flags = (int)(1u << 31)};  // SS_AUTODISARM
  MUST(sigaltstack(&alternate, NULL));
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
  MUST(sigaction(SIGUSR1, &action, NULL));
  checkpoint_here();
  stack_t seen;
  MUST(sigaltstack(NULL, &seen));
  CHECK(seen.ss_sp == stack && seen.ss_size == kStackSize, "it is at %p, %zu bytes", seen.ss_sp, seen.ss_size);
  CHECK_EQUAL((unsigned)seen.ss_flags, 1u << 31);
  raise(SIGUSR1);
  CHECK(on_stack, "the handler did not run on it");
  return 0;
}
