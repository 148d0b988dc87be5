#include "linux/seize_patience.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "base/clock.h"
#include "linux/restart.h"

extern "C" {
long perdure_patient_ptrace(long request, long tid, unsigned long address, unsigned long data);
extern const char perdure_patient_ptrace_call[];
}

asm(R"(
  .pushsection .text
  .global perdure_patient_ptrace
  .global perdure_patient_ptrace_call
perdure_patient_ptrace:
  mov %rcx, %r10
  mov $101, %eax
perdure_patient_ptrace_call:
  syscall
  ret
  .popsection
)");
static_assert(SYS_ptrace == 101);

namespace perdure {

namespace {

/// The kernel takes the call up again after a handler (ERESTARTNOINTR), unless the handler leads past it.
void leave_seize(int, siginfo_t*, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (registers[REG_RIP] != reinterpret_cast<greg_t>(perdure_patient_ptrace_call)) return;
  registers[REG_RIP] += static_cast<greg_t>(kSystemCallBytes);
  registers[REG_RAX] = -EINTR;
}

}  // namespace

long seize_with_patience(int tid, unsigned long options) { return perdure_patient_ptrace(PTRACE_SEIZE, tid, 0, options); }

Result<SeizePatience> SeizePatience::create() {
  struct sigaction action {};
  action.sa_sigaction = leave_seize;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  if (sigaction(SIGRTMAX, &action, nullptr) != 0) return system_error("handle a timer's signal");
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGRTMAX;
  event._sigev_un._tid = gettid();
  timer_t timer{};
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) return system_error("create a timer");
  return SeizePatience(timer);
}

SeizePatience::SeizePatience(SeizePatience&& other) noexcept : timer_(other.timer_), owned_(std::exchange(other.owned_, false)) {}

SeizePatience::~SeizePatience() {
  if (owned_) timer_delete(timer_);
}

void SeizePatience::arm(int64_t patience_ns) {
  if (std::exchange(armed_, true)) return;
  const itimerspec times{.it_interval = to_timespec(patience_ns), .it_value = to_timespec(patience_ns)};
  timer_settime(timer_, 0, &times, nullptr);
}

void SeizePatience::disarm() {
  if (!std::exchange(armed_, false)) return;
  const itimerspec never{};
  timer_settime(timer_, 0, &never, nullptr);
}

}  // namespace perdure
