// Terminals: the group's own, seen from its master, and what must hold between the pseudo terminals that it opened itself.
#include <asm/termbits.h>
#include <fmt/format.h>
#include <sys/ioctl.h>

#include "capture/internal.h"

namespace perdure::capture {

void Capturer::read_terminal(posix::Group& group, const PausedState& state) const {
  if (options_.terminal_master < 0) return;
  posix::GroupTerminal& terminal = *group.mutable_terminal();
  unsigned number = 0;
  if (ioctl(options_.terminal_master, TIOCGPTN, &number) == 0) terminal.set_number(number);
  termios2 settings{};
  if (ioctl(options_.terminal_master, TCGETS2, &settings) == 0) terminal.set_settings(&settings, sizeof settings);
  pid_t foreground = 0;
  if (ioctl(options_.terminal_master, TIOCGPGRP, &foreground) != 0) return;
  for (const posix::ProcessRecord* process : state.tasks.processes) {
    if (static_cast<pid_t>(process->process_group_host) == foreground) {
      terminal.set_foreground_group(static_cast<int>(process->process_group));
    }
  }
}

/// A pair comes back as a whole, so that the group must have its master; and under its number, so that there must be one of that number.
Result<void> Capturer::check_terminals(const PausedState& state) const {
  std::set<uint64_t> mastered;
  std::map<unsigned, uint64_t> numbered;
  for (const auto& [id, object] : state.records) {
    if (object.has_open_file() && object.open_file().terminal().has_state()) mastered.insert(object.open_file().terminal().pair());
  }
  for (const auto& [id, object] : state.records) {
    if (!object.has_open_file() || !object.open_file().has_terminal()) continue;
    const posix::Terminal& terminal = object.open_file().terminal();
    if (!terminal.hung_up() && !mastered.contains(terminal.pair())) {
      return failure(fmt::format("the group has pseudo terminal {} open, whose master is held by somebody outside of it: this cannot be persisted", terminal.number()));
    }
    if (numbered.try_emplace(terminal.number(), terminal.pair()).first->second != terminal.pair()) {
      return failure(fmt::format("the group has two pseudo terminals of number {}, from different devpts file systems: this cannot be persisted", terminal.number()));
    }
  }
  return {};
}

}  // namespace perdure::capture
