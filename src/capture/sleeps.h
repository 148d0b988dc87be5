// Until when threads sleep in calls with a timeout that no register tells.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "posix/blocked_syscall.h"
#include "posix/collector.h"

namespace perdure::capture {

/// Remembers the deadlines of sleepers from the moment when each was first seen.
class Sleeps {
 public:
  /// What is left of the timeout of the call that the thread is in; -1 without one. `asleep`: whether `thread` says how it was seen asleep in
  /// this call; otherwise it has only begun, unless it was taken up again after a stop.
  int64_t remaining_ns(const posix::ThreadBrief& thread, const posix::CallArguments& call, bool asleep, int64_t now_ns);

  /// What is left of the timeout that a socket imposes on a thread seen asleep in a call, where the kernel says `kernel_remaining_ns` (-1: there
  /// is none). Less, if the call was taken up again: the kernel then counts anew. `in_continuation`: see half_done_transfer.h.
  int64_t socket_remaining_ns(const posix::ThreadBrief& thread, int64_t kernel_remaining_ns, bool in_continuation, int64_t now_ns);
  /// Whether something is known of the wait that the thread is in.
  bool knows_socket_wait(const posix::ThreadBrief& thread) { return socket_wait(thread) != nullptr; }
  /// The same of a call that a stop has interrupted just now and that will be taken up again, for a thread that was `thread` before; -1 when
  /// nothing is known of it.
  int64_t take_up_again(const posix::ThreadBrief& thread, int64_t now_ns);
  /// What is left for a thread that stands stopped in a call that will be taken up again, or in front of it.
  int64_t stopped_in_call(const posix::ThreadBrief& thread, int64_t now_ns);
  /// Whether the thread stands in front of the instruction that takes its call up again.
  bool is_about_to_take_up(const posix::ThreadBrief& thread);
  /// The thread will take up the call at `instruction`, which is to end then, whatever the kernel thinks.
  void impose(const posix::ThreadBrief& thread, uint64_t instruction, int64_t deadline_ns);
  /// The thread waits for no socket.
  void end_socket_wait(const posix::ThreadBrief& thread) { socket_waits_.erase(thread.task); }
  /// Sleepers (by task address) that the kernel would let sleep on although their time is over; they are to be interrupted.
  std::set<uint64_t> overdue(const std::vector<posix::ThreadBrief>& threads, int64_t now_ns);
  /// When the next one will be overdue; absent without.
  std::optional<int64_t> next_overdue_ns() const;

  /// Forgets threads that are gone.
  void keep_only(const std::vector<posix::ThreadBrief>& threads);

 private:
  struct Sleep {
    uint64_t thread_start_ns = 0;  ///< a task's address is used again
    uint64_t call = 0;
    std::optional<uint64_t> nvcsw;  ///< absent for one that was stopped
    int64_t deadline_ns = -1;       ///< -1: never
  };
  struct SocketWait {
    uint64_t thread_start_ns = 0;
    std::optional<uint64_t> nvcsw;  ///< absent for one that is to be taken up again
    int64_t deadline_ns = 0;
    bool imposed = false;           ///< the kernel thinks of a later one
    uint64_t instruction = 0;       ///< that takes the call up again
  };
  SocketWait* socket_wait(const posix::ThreadBrief& thread);

  std::map<uint64_t, Sleep> sleeps_;             ///< by task address
  std::map<uint64_t, SocketWait> socket_waits_;  ///< likewise
};

}  // namespace perdure::capture
