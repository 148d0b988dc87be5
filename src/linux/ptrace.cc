#include "linux/ptrace.h"

#include <elf.h>
#include <fmt/format.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/clock.h"
#include "linux/process.h"
#include "linux/seize_patience.h"

namespace perdure {

namespace {
constexpr int64_t kSpinNs = 300'000;
constexpr int64_t kResumeTimeoutNs = 20 * kNanosecondsPerSecond;
constexpr int64_t kDeathNs = kNanosecondsPerSecond / 1000;
constexpr useconds_t kSleepStepUs = 50;
}  // namespace

Pace::Pace(bool gives_way) : begin_ns_(monotonic_ns()), gives_way_(gives_way) {}
int64_t Pace::waited_ns() const { return monotonic_ns() - begin_ns_; }
void Pace::step() const {
  // Not sched_yield(2): each call costs its caller a whole slice, and where others want the processor, many cost it seconds.
  if (gives_way_) usleep(1);
  else if (waited_ns() > kSpinNs) usleep(kSleepStepUs);
}

Result<int> wait_for_thread(pid_t tid, int64_t timeout_ns) {
  for (const Pace pace;; pace.step()) {
    int status = 0;
    const pid_t got = waitpid(tid, &status, WNOHANG | __WALL);
    if (got == tid) return status;
    if (got < 0 && errno != EINTR) return system_error(fmt::format("wait for thread {}", tid));
    if (pace.waited_ns() > timeout_ns) return std::unexpected(Error{fmt::format("thread {} did not stop", tid), ETIMEDOUT});
  }
}

TracedThread::TracedThread(TracedThread&& other) noexcept
    : tid_(std::exchange(other.tid_, 0)),
      process_(other.process_),
      stopped_(std::exchange(other.stopped_, false)),
      interrupted_(std::exchange(other.interrupted_, false)) {}

TracedThread& TracedThread::operator=(TracedThread&& other) noexcept {
  if (this != &other) {
    detach();
    tid_ = std::exchange(other.tid_, 0);
    process_ = other.process_;
    stopped_ = std::exchange(other.stopped_, false);
    interrupted_ = std::exchange(other.interrupted_, false);
  }
  return *this;
}

Result<TracedThread> TracedThread::seize(pid_t tid, unsigned long options, pid_t process) {
  const long result = seize_with_patience(tid, options);
  if (result < 0) return std::unexpected(Error{fmt::format("seize thread {}", tid), static_cast<int>(-result)});
  return TracedThread(tid, process);
}

Result<void> TracedThread::interrupt() {
  if (::ptrace(PTRACE_INTERRUPT, tid_, 0, 0) != 0) return system_error(fmt::format("interrupt thread {}", tid_));
  interrupted_ = true;
  return {};
}

TracedThread::Sight TracedThread::take(int status) {
  if (WIFEXITED(status) || WIFSIGNALED(status)) {
    forget();
    return Sight::gone;
  }
  stopped_ = true;
  const int event = status >> 16;
  if (event == PTRACE_EVENT_STOP) return Sight::stopped;
  if (event == PTRACE_EVENT_EXIT && ::ptrace(PTRACE_DETACH, tid_, 0, 0) == 0) {
    forget();
    return Sight::gone;
  }
  const bool signal_delivery = event == 0 && WSTOPSIG(status) != (SIGTRAP | 0x80);
  // One that was killed in its stop cannot be continued, and does not need to be.
  (void)::ptrace(PTRACE_CONT, tid_, 0, signal_delivery ? WSTOPSIG(status) : 0);
  stopped_ = false;
  return Sight::runs;
}

TracedThread::Sight TracedThread::look() {
  if (gone()) return Sight::gone;
  if (stopped_) return Sight::stopped;
  int status = 0;
  pid_t got = waitpid(tid_, &status, WNOHANG | __WALL);
  if (got < 0 && errno == ECHILD && process_ != 0 && process_ != tid_) {
    tid_ = process_;
    got = waitpid(tid_, &status, WNOHANG | __WALL);
  }
  if (got == tid_) return take(status);
  if (got < 0 && errno == ECHILD) forget();
  return gone() ? Sight::gone : Sight::runs;
}

Result<bool> TracedThread::wait_for_stop(int64_t timeout_ns) {
  for (const Pace pace;; pace.step()) {
    const Sight sight = look();
    if (sight != Sight::runs) return sight == Sight::stopped;
    if (pace.waited_ns() > timeout_ns) return std::unexpected(Error{fmt::format("thread {} did not stop", tid_), ETIMEDOUT});
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
  stopped_ = interrupted_ = false;
  const Pace pace;
  if (::ptrace(static_cast<__ptrace_request>(request), tid_, 0, signal) != 0) {
    return system_error(fmt::format("resume thread {}", tid_));
  }
  Result<int> waited = wait_for_thread(tid_, kDeathNs);
  while (!waited && waited.error().error_number == ETIMEDOUT && pace.waited_ns() < kResumeTimeoutNs) {
    // Killed: its end is told only once those of its process that are held, too, are let go.
    if (has_exited_first()) return failure(fmt::format("thread {} ended while it was being driven", tid_));
    waited = wait_for_thread(tid_, kDeathNs);
  }
  const int status = TRY(std::move(waited));
  if (WIFEXITED(status) || WIFSIGNALED(status)) {
    const pid_t tid = tid_;
    forget();
    return failure(fmt::format("thread {} ended while it was being driven (status {:x})", tid, status));
  }
  stopped_ = true;
  if (status >> 16 == PTRACE_EVENT_EXIT) return failure(fmt::format("thread {} exited while it was being driven", tid_));
  return status;
}

Result<pid_t> TracedThread::event_message() const {
  unsigned long message = 0;
  if (::ptrace(PTRACE_GETEVENTMSG, tid_, 0, &message) != 0) {
    return system_error(fmt::format("read the ptrace event of thread {}", tid_));
  }
  return static_cast<pid_t>(message);
}

bool TracedThread::try_detach(int signal) {
  if (gone()) return true;
  // An interrupt that fails meets a thread that is dying, which is seen as well.
  if (!stopped_ && !interrupted_) (void)interrupt();
  const Sight sight = look();
  if (sight != Sight::stopped) return sight == Sight::gone;
  if (::ptrace(PTRACE_DETACH, tid_, 0, signal) == 0 || errno != ESRCH) {
    forget();
    return true;
  }
  // Killed while it was stopped. Until its tracer has waited for it, its process stays a zombie that its parent waits for in vain.
  stopped_ = false;
  return false;
}

bool TracedThread::has_exited_first() const {
  return tid_ == process_ && process_state(tid_) == 'Z';
}

void TracedThread::detach(int signal) {
  // A thread that is held up in the kernel stops as soon as it comes out: were it left now, nobody would ever let it run on.
  for (const Pace pace; !try_detach(signal); pace.step()) {
    if (pace.waited_ns() > kDeathNs && has_exited_first()) forget();
  }
}

std::vector<TracedThread> detach_all(std::vector<TracedThread> threads) {
  for (const Pace pace;; pace.step()) {
    std::erase_if(threads, [](TracedThread& thread) { return thread.try_detach(); });
    if (threads.empty()) return threads;
    if (pace.waited_ns() > kDeathNs && std::ranges::all_of(threads, &TracedThread::has_exited_first)) return threads;
  }
}

}  // namespace perdure
