// Threads seized by ptrace(2), and given back.
#pragma once

#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace perdure {

/// A thread of another process under PTRACE_SEIZE. While stopped it may be read and driven; the destructor detaches it, and it runs
/// on where its registers say. ptrace binds it to the OS thread that seized it: use and destroy it there.
class TracedThread {
 public:
  /// PTRACE_SEIZE with PTRACE_O_ options. The thread runs on until interrupt(). `process`, its process's PID: the number that the thread goes
  /// by once it has executed another program.
  static Result<TracedThread> seize(pid_t tid, unsigned long options, pid_t process = 0);
  /// Takes over a thread that the kernel attached by itself (PTRACE_O_TRACECLONE and the like).
  static TracedThread adopt(pid_t tid) { return TracedThread(tid); }

  TracedThread(TracedThread&& other) noexcept;
  TracedThread& operator=(TracedThread&& other) noexcept;
  ~TracedThread() { detach(); }

  pid_t tid() const { return tid_; }
  bool stopped() const { return stopped_; }
  bool gone() const { return tid_ == 0; }

  /// PTRACE_INTERRUPT; wait_for_stop() then sees it stop.
  Result<void> interrupt();
  enum class Sight { runs, stopped, gone };
  /// Looks, without waiting, whether the thread has come to its stop; see wait_for_stop(). One that is about to exit (PTRACE_O_TRACEEXIT) is let
  /// go, since a process's first thread cannot be given back once it has exited; it is then gone as well.
  Sight look();
  /// Waits, spinning at first, until the thread rests in its interrupt stop. A signal on its way to the thread is delivered first, so that it is
  /// in a handler's frame or still queued, never in between. False when the thread exited meanwhile. Error after `timeout_ns`.
  Result<bool> wait_for_stop(int64_t timeout_ns);

  Result<user_regs_struct> registers() const;
  Result<void> set_registers(const user_regs_struct& registers);
  /// Sets one word of struct user, e.g. offsetof(user, regs.rax): leaves the others alone.
  Result<void> poke_user(size_t offset, uint64_t value);
  Result<void> set_xstate(std::span<const std::byte> standard_layout);
  Result<uint64_t> signal_mask() const;
  static constexpr uint64_t kAllSignals = ~0ull;
  Result<void> set_signal_mask(uint64_t mask);

  /// Resumes by `request` (PTRACE_CONT, PTRACE_SYSCALL), then waits for the next stop of any kind; returns its wait(2) status.
  Result<int> resume_and_wait(int request, int signal = 0);
  /// The message of the last PTRACE_EVENT_ stop: the new thread's id.
  Result<pid_t> event_message() const;

  /// Lets the thread go, delivering `signal` if not 0. Harmless when already detached or gone.
  void detach(int signal = 0);
  /// One step towards detach(), without waiting; true once nothing is held any more.
  bool try_detach(int signal = 0);
  /// Whether it is the first thread of a process and has exited, while others go on: nobody can let go of it before they are gone as well.
  bool has_exited_first() const;
  /// Forgets the thread without detaching (it was killed or has exited).
  void forget() { tid_ = 0; }

 private:
  explicit TracedThread(pid_t tid, pid_t process = 0) : tid_(tid), process_(process) {}
  Sight take(int status);
  pid_t tid_ = 0;
  pid_t process_ = 0;
  bool stopped_ = false;
  bool interrupted_ = false;
};

/// Lets go of all of them, in whatever order their deaths allow. Returns those of which has_exited_first() is true: try again later.
std::vector<TracedThread> detach_all(std::vector<TracedThread> threads);

/// Paces a wait for something that is tens of microseconds away: spins for a moment, then sleeps in short steps. `gives_way`: who is waited for
/// may want this very processor.
class Pace {
 public:
  explicit Pace(bool gives_way = false);
  int64_t waited_ns() const;
  void step() const;

 private:
  int64_t begin_ns_;
  bool gives_way_;
};

/// Waits for a change of state of a traced thread, at a Pace. Returns the wait(2) status; ETIMEDOUT after `timeout_ns`.
Result<int> wait_for_thread(pid_t tid, int64_t timeout_ns);

}  // namespace perdure
