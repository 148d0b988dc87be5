#include <asm/termbits.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cstring>

#include "restore/rebuild.h"

namespace perdure::restore {

namespace {

int foreground_group(const posix::Process& process, const posix::RestoreContext& context) {
  if (const posix::Terminal* terminal = posix::controlling_terminal(context.tree, process)) return terminal->state().foreground_group();
  const auto group = context.tree.group();
  return group ? (*group)->terminal().foreground_group() : 0;
}

}  // namespace

Result<void> set_up_group_terminal(const posix::RestoreContext& context) {
  const auto& saved = TRY(context.tree.group())->terminal();
  termios2 settings{};
  if (context.terminal_master < 0 || saved.settings().size() != sizeof settings) return {};
  std::memcpy(&settings, saved.settings().data(), sizeof settings);
  if (ioctl(context.terminal_master, TCSETS2, &settings) != 0) return system_error("set up the group's terminal");
  return {};
}

Result<std::optional<std::string>> controlling_terminal_path(const posix::Process& process, const posix::RestoreContext& context) {
  if (process.session() != process.pid() || process.zombie()) return std::optional<std::string>{};
  if (const posix::Terminal* terminal = posix::controlling_terminal(context.tree, process)) return fmt::format("/dev/pts/{}", terminal->number());
  unsigned number = 0;
  if (!process.has_group_terminal() || context.terminal_master < 0) return std::optional<std::string>{};
  if (ioctl(context.terminal_master, TIOCGPTN, &number) != 0) return system_error("number of the group's terminal");
  return fmt::format("/dev/pts/{}", number);
}

Result<void> rebuild_terminal(BareProcess& process, posix::RestoreContext& context) {
  const auto path = TRY(controlling_terminal_path(*process.record, context));
  const int foreground = foreground_group(*process.record, context);
  if (!path || foreground <= 0) return {};
  SyscallBatch batch(process.stub);
  batch.add("open the controlling terminal", SYS_open, {batch.add_string(*path), O_RDWR});
  const auto opened = static_cast<uint64_t>(TRY(batch.run(process.leader, process.memory.get())).front());
  // A group that has gone meanwhile leaves the leader's own in the foreground.
  batch.add_tolerant(SYS_ioctl, {opened, TIOCSPGRP, batch.add_value(int{foreground})});
  batch.add("close the terminal", SYS_close, {opened});
  TRY(batch.run(process.leader, process.memory.get()));
  return {};
}

}  // namespace perdure::restore
