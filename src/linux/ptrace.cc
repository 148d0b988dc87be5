#include "linux/ptrace.h"

#include <elf.h>
#include <fmt/format.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/clock.h"

namespace perdure {

namespace {
constexpr int64_t kSpinNs = 300'000;
constexpr int64_t kResumeTimeoutNs = 20 * kNanosecondsPerSecond;
constexpr int64_t kGiveBackTimeoutNs = kNanosecondsPerSecond;
constexpr useconds_t kSleepStepUs = 50;
}  // namespace

Result<int> wait_for_thread(pid_t tid, int64_t timeout_ns) {
  const int64_t begin_ns = monotonic_ns();
  for (;;) {
    int status = 0;
    const pid_t got = waitpid(tid, &status, WNOHANG | __WALL);
    if (got == tid) return status;
    if (got < 0 && errno != EINTR) return system_error(fmt::format("wait for thread {}", tid));
    const int64_t waited_ns = monotonic_ns() - begin_ns;
    if (waited_ns > timeout_ns) {
      return std::unexpected(Error{fmt::format("thread {} did not stop", tid), ETIMEDOUT});
    }
    if (waited_ns > kSpinNs) usleep(kSleepStepUs);
  }
}

TracedThread::TracedThread(TracedThread&& other) noexcept
    : tid_(std::exchange(other.tid_, 0)), stopped_(std::exchange(other.stopped_, false)) {}

TracedThread& TracedThread::operator=(TracedThread&& other) noexcept {
  if (this != &other) {
    detach();
    tid_ = std::exchange(other.tid_, 0);
    stopped_ = std::exchange(other.stopped_, false);
  }
  return *this;
}

Result<TracedThread> TracedThread::seize(pid_t tid, unsigned long options) {
  if (::ptrace(PTRACE_SEIZE, tid, 0, options) != 0) return system_error(fmt::format("seize thread {}", tid));
  return TracedThread(tid);
}

Result<void> TracedThread::interrupt() {
  if (::ptrace(PTRACE_INTERRUPT, tid_, 0, 0) != 0) return system_error(fmt::format("interrupt thread {}", tid_));
  return {};
}

Result<bool> TracedThread::wait_for_stop(int64_t timeout_ns) {
  const int64_t deadline_ns = monotonic_ns() + timeout_ns;
  for (;;) {
    const int status = TRY(wait_for_thread(tid_, deadline_ns - monotonic_ns()));
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      forget();
      return false;
    }
    stopped_ = true;
    if (status >> 16 == PTRACE_EVENT_STOP) return true;
    const bool signal_delivery = status >> 16 == 0 && WSTOPSIG(status) != (SIGTRAP | 0x80);
    if (::ptrace(PTRACE_CONT, tid_, 0, signal_delivery ? WSTOPSIG(status) : 0) != 0) {
      return system_error(fmt::format("continue thread {}", tid_));
    }
    stopped_ = false;
  }
}

Result<user_regs_struct> TracedThread::registers() const {
  user_regs_struct registers{};
  if (::ptrace(PTRACE_GETREGS, tid_, 0, &registers) != 0) {
    return system_error(fmt::format("read the registers of thread {}", tid_));
  }
  return registers;
}

Result<void> TracedThread::set_registers(const user_regs_struct& registers) {
  if (::ptrace(PTRACE_SETREGS, tid_, 0, &registers) != 0) {
    return system_error(fmt::format("set the registers of thread {}", tid_));
  }
  return {};
}

Result<void> TracedThread::poke_user(size_t offset, uint64_t value) {
  if (::ptrace(PTRACE_POKEUSER, tid_, offset, value) != 0) {
    return system_error(fmt::format("set a register of thread {}", tid_));
  }
  return {};
}

Result<void> TracedThread::set_xstate(std::span<const std::byte> standard_layout) {
  iovec vector{const_cast<std::byte*>(standard_layout.data()), standard_layout.size()};
  if (::ptrace(PTRACE_SETREGSET, tid_, NT_X86_XSTATE, &vector) != 0) {
    return system_error(fmt::format("set the extended registers of thread {}", tid_));
  }
  return {};
}

Result<uint64_t> TracedThread::signal_mask() const {
  uint64_t mask = 0;
  if (::ptrace(PTRACE_GETSIGMASK, tid_, sizeof mask, &mask) != 0) {
    return system_error(fmt::format("read the signal mask of thread {}", tid_));
  }
  return mask;
}

Result<void> TracedThread::set_signal_mask(uint64_t mask) {
  if (::ptrace(PTRACE_SETSIGMASK, tid_, sizeof mask, &mask) != 0) {
    return system_error(fmt::format("set the signal mask of thread {}", tid_));
  }
  return {};
}

Result<int> TracedThread::resume_and_wait(int request, int signal) {
  stopped_ = false;
  if (::ptrace(static_cast<__ptrace_request>(request), tid_, 0, signal) != 0) {
    return system_error(fmt::format("resume thread {}", tid_));
  }
  const int status = TRY(wait_for_thread(tid_, kResumeTimeoutNs));
  if (WIFEXITED(status) || WIFSIGNALED(status)) {
    const pid_t tid = tid_;
    forget();
    return failure(fmt::format("thread {} ended while it was being driven (status {:x})", tid, status));
  }
  stopped_ = true;
  return status;
}

Result<pid_t> TracedThread::event_message() const {
  unsigned long message = 0;
  if (::ptrace(PTRACE_GETEVENTMSG, tid_, 0, &message) != 0) {
    return system_error(fmt::format("read the ptrace event of thread {}", tid_));
  }
  return static_cast<pid_t>(message);
}

void TracedThread::detach(int signal) {
  if (tid_ == 0) return;
  if (!stopped_ && interrupt()) {
    // A thread that is held up in the kernel stops as soon as it comes out: were it left now, nobody would ever let it run on.
    auto stop = wait_for_stop(kGiveBackTimeoutNs);
    while (!stop && stop.error().error_number == ETIMEDOUT) stop = wait_for_stop(kGiveBackTimeoutNs);
    if (!stop || !*stop) {
      tid_ = 0;
      return;
    }
  }
  while (::ptrace(PTRACE_DETACH, tid_, 0, signal) != 0 && errno == ESRCH) {
    // Killed while it was stopped. Until its tracer has waited for it, its process stays a zombie that its parent waits for in vain.
    const auto status = wait_for_thread(tid_, kGiveBackTimeoutNs);
    if (!status || WIFEXITED(*status) || WIFSIGNALED(*status)) break;
  }
  tid_ = 0;
  stopped_ = false;
}

}  // namespace perdure
