// The group's terminal: a pseudo terminal of its own, joined to the one that `perdure run` was started from.
#pragma once

#include <termios.h>

#include <optional>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/result.h"

namespace perdure::supervisor {

/// A pseudo terminal that behaves as the real one: same size and settings at first, every byte passed on both ways. While it exists, the
/// real terminal is in raw mode (the group's has the line discipline); the destructor passes on what is left and puts the old mode back.
class GroupTerminal {
 public:
  /// `real`: a descriptor of the terminal that perdure itself runs in. `file_system`: the group's devpts instance, where the terminal gets this
  /// `number`; absent: the machine's own, and any number.
  static Result<std::unique_ptr<GroupTerminal>> create(int real, const std::optional<Fd>& file_system, unsigned number);
  ~GroupTerminal();

  int master() const { return master_.get(); }
  int slave() const { return slave_.get(); }
  /// Copies the real terminal's size (after SIGWINCH).
  void resize();
  /// The real terminal in raw mode, or in its old one while the supervisor is stopped.
  void set_raw(bool raw);
  /// Begins to pass bytes.
  void connect();

 private:
  GroupTerminal(int real, Fd master, Fd slave);
  void pass_bytes();
  int real_;
  Fd master_;
  Fd slave_;
  Fd stop_;
  std::optional<termios> old_mode_;
  std::thread thread_;
};

}  // namespace perdure::supervisor
