#include <asm/termbits.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cstring>

#include "restore/rebuild.h"

namespace perdure::restore {

Result<void> rebuild_terminal(BareProcess& process, posix::RestoreContext& context) {
  const auto& record = *process.record;
  if (!record.has_group_terminal() || record.session() != record.pid() || context.terminal_master < 0) return {};
  const auto& saved = TRY(context.tree.group())->terminal();
  unsigned number = 0;
  if (ioctl(context.terminal_master, TIOCGPTN, &number) != 0) return system_error("number of the group's terminal");
  if (saved.settings().size() == sizeof(termios2)) {
    termios2 settings{};
    std::memcpy(&settings, saved.settings().data(), sizeof settings);
    if (ioctl(context.terminal_master, TCSETS2, &settings) != 0) return system_error("set up the group's terminal");
  }
  SyscallBatch batch(process.stub);
  // A session leader without one gets the terminal that it opens.
  batch.add("open the controlling terminal", SYS_open, {batch.add_string(fmt::format("/dev/pts/{}", number)), O_RDWR});
  const auto opened = static_cast<uint64_t>(TRY(batch.run(process.leader, process.memory.get())).front());
  if (saved.foreground_group() > 0) {
    // A group that has gone meanwhile leaves the leader's own in the foreground.
    batch.add_tolerant(SYS_ioctl, {opened, TIOCSPGRP, batch.add_value(int{saved.foreground_group()})});
  }
  batch.add("close the terminal", SYS_close, {opened});
  TRY(batch.run(process.leader, process.memory.get()));
  return {};
}

}  // namespace perdure::restore
