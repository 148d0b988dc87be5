// The group's own terminal, seen from its master.
#include <asm/termbits.h>
#include <sys/ioctl.h>

#include "capture/internal.h"

namespace perdure::capture {

void Capturer::read_terminal(posix::Group& group, const PausedState& state) const {
  if (options_.terminal_master < 0) return;
  posix::GroupTerminal& terminal = *group.mutable_terminal();
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

}  // namespace perdure::capture
