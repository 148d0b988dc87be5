// What each signal does comes back to the last bit: handler, flags, mask and restorer, ignored, default.
// covers: signal-handlers
#include "check.h"

struct kernel_action {
  uintptr_t handler;
  unsigned long flags;
  uintptr_t restorer;
  uint64_t mask;
};

static void handler_a(int number) { (void)number; }
static void handler_b(int number, siginfo_t* info, void* context) { (void)number, (void)info, (void)context; }

static void set(int number) {
  struct sigaction action = {0};
  sigemptyset(&action.sa_mask);
  switch (number % 4) {
    case 0:
      action.sa_handler = SIG_IGN;
      break;
    case 1:
      action.sa_handler = handler_a;
      action.sa_flags = SA_RESTART | (number > 30 ? SA_NODEFER : 0);
      sigaddset(&action.sa_mask, number % 30 + 1);
      break;
    case 2:
      action.sa_sigaction = handler_b;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK | (number > 30 ? SA_RESETHAND : SA_NOCLDSTOP);
      sigfillset(&action.sa_mask);
      break;
    default:
      return;
  }
  MUST(sigaction(number, &action, NULL));
}

static bool settable(int number) { return number != SIGKILL && number != SIGSTOP && number != 32 && number != 33; }

int main(int argc, char** argv) {
  begin(argc, argv);
  struct kernel_action before[65], after;
  for (int i = 1; i <= 64; i++) {
    if (settable(i)) set(i);
    MUST(syscall(SYS_rt_sigaction, i, NULL, &before[i], 8));
  }
  checkpoint_here();
  for (int i = 1; i <= 64; i++) {
    MUST(syscall(SYS_rt_sigaction, i, NULL, &after, 8));
    CHECK(after.handler == before[i].handler, "signal %d: handler %p, not %p", i, (void*)after.handler, (void*)before[i].handler);
    CHECK(after.flags == before[i].flags, "signal %d: flags 0x%lx, not 0x%lx", i, after.flags, before[i].flags);
    CHECK(after.mask == before[i].mask, "signal %d: mask 0x%llx, not 0x%llx", i, (unsigned long long)after.mask, (unsigned long long)before[i].mask);
    CHECK(after.restorer == before[i].restorer, "signal %d: restorer %p, not %p", i, (void*)after.restorer, (void*)before[i].restorer);
  }
  return 0;
}
