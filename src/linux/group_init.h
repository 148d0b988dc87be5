// A group's namespaces (PID, time, IPC, mount) and the init that holds them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "linux/init_protocol.h"

namespace perdure {

/// In every group's PID namespace: its init, and the shepherd, which starts or restores the program and is the parent of it.
inline constexpr int kInitPid = 1, kShepherdPid = 2;

/// What the group's clocks show when it starts, in nanoseconds; absent: as the machine's.
struct GroupClocks {
  int64_t monotonic_ns;
  int64_t boottime_ns;
};

/// How a program is started inside the group.
struct StartPlan {
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  struct User {
    uid_t uid;
    gid_t gid;
    std::vector<gid_t> groups;
  };
  std::optional<User> user;
  bool take_terminal = false;
  uint64_t signal_mask = 0;
  int working_directory = -1;  ///< borrowed descriptors
  int standard_input = 0;
  int standard_output = 1;
  int standard_error = 2;
};

/// Fresh namespaces with PID 1 (init) and PID 2 (the shepherd, parent of the group's first process) inside. The destructor ends
/// them, and with them everything inside, unless release() was called.
class GroupInit {
 public:
  struct Options {
    std::string name;  ///< of the group; shown with init's arguments
    std::optional<GroupClocks> clocks;
    bool survive_supervisor = false;  ///< the group goes on when the supervisor dies
    int terminal_master = -1;         ///< borrowed; init keeps it open
    int terminal_file_system = -1;    ///< borrowed; init mounts it on /dev/pts
  };
  static Result<GroupInit> launch(const Options& options);
  GroupInit(GroupInit&&) = default;
  GroupInit& operator=(GroupInit&&) = delete;
  ~GroupInit();

  pid_t init_pid() const { return init_pid_; }          ///< host PID
  pid_t shepherd_pid() const { return shepherd_pid_; }  ///< host PID
  uint64_t pid_namespace() const { return pid_namespace_; }
  /// Readable when the shepherd has something to say; receive() then takes it.
  int socket() const { return socket_.get(); }
  /// The sending end of the socket from which bare tasks take descriptors (they hold the other at PERDURE_INIT_TRANSPORT).
  int transport() const { return transport_.get(); }

  /// Starts the program as a child of the shepherd; returns its PID inside.
  Result<pid_t> start(const StartPlan& plan);
  /// The next message of the shepherd; absent when it is gone.
  Result<std::optional<perdure_init_message>> receive();
  /// Lets the group live on without this object.
  void release() { init_pid_ = 0; }

 private:
  GroupInit() = default;
  struct Pid {
    pid_t value = 0;
    Pid() = default;
    Pid(Pid&& other) noexcept : value(std::exchange(other.value, 0)) {}
    Pid& operator=(pid_t other) {
      value = other;
      return *this;
    }
    operator pid_t() const { return value; }
  };
  Pid init_pid_;
  Pid shepherd_pid_;
  uint64_t pid_namespace_ = 0;
  Fd socket_;
  Fd transport_;
};

/// Sends descriptors with one byte over a SOCK_SEQPACKET socket; at most 253 (SCM_MAX_FD).
Result<void> send_descriptors(int socket, std::span<const int> descriptors);

}  // namespace perdure
