#include "linux/stand_in.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <thread>

#include "base/fd.h"

namespace perdure {

namespace {

/// Effective ids only, by the bare calls: those of the C library would change every thread's. Files are still reached as root.
int take_ids(const Identity& identity) {
  constexpr uint64_t kUnchanged = ~uint64_t{0};
  if (identity.gid != 0 && syscall(SYS_setresgid, kUnchanged, identity.gid, kUnchanged) != 0) return errno;
  if (identity.uid != 0 && syscall(SYS_setresuid, kUnchanged, identity.uid, kUnchanged) != 0) return errno;
  setfsuid(0);
  setfsgid(0);
  return 0;
}

/// clone3 of a child that shares the descriptor table and dies without a signal; pid 0: any number. -1 and errno on failure.
long clone_child(pid_t pid) {
  clone_args arguments{};
  arguments.flags = CLONE_FILES;
  if (pid != 0) {
    arguments.set_tid = reinterpret_cast<uint64_t>(&pid);
    arguments.set_tid_size = 1;
  }
  return syscall(SYS_clone3, &arguments, sizeof arguments);
}

Result<void> bear_children_in(pid_t namespace_pid) {
  const std::string path = fmt::format("/proc/{}/ns/pid", namespace_pid);
  const Fd pid_namespace(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!pid_namespace) return system_error("open " + path);
  if (setns(pid_namespace.get(), CLONE_NEWPID) != 0) return system_error("enter the group's PID namespace");
  return {};
}

Result<void> stand_in(pid_t namespace_pid, const Identity& identity, bool number_required, const std::string& what, const StandInWork& work) {
  if (identity.pid != 0) TRY(bear_children_in(namespace_pid));
  long child = clone_child(identity.pid);
  if (child < 0 && errno == EEXIST && !number_required) child = clone_child(0);
  if (child == 0) {
    const int failed = take_ids(identity);
    _exit(failed != 0 ? failed : work());
  }
  if (child < 0) return system_error(fmt::format("stand in for process {}", identity.pid));
  int status = 0;
  if (waitpid(static_cast<pid_t>(child), &status, __WALL) != child) return system_error("wait for a stand-in");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return std::unexpected(Error{what, WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD});
}

Result<void> in_thread(const std::function<Result<void>()>& work) {
  std::optional<Result<void>> result;
  std::thread([&] { result = work(); }).join();
  return *result;
}

Result<void> run_here(const std::string& what, const StandInWork& work) {
  const int failed = work();
  if (failed == 0) return {};
  return std::unexpected(Error{what, failed});
}

}  // namespace

Result<void> run_as(pid_t namespace_pid, const Identity& identity, const std::string& what, const StandInWork& work) {
  if (identity.pid == 0 && identity.uid == 0 && identity.gid == 0) return run_here(what, work);
  return in_thread([&] { return stand_in(namespace_pid, identity, true, what, work); });
}

Result<void> run_within(pid_t namespace_pid, pid_t preferred_pid, const std::string& what, const StandInWork& work) {
  if (preferred_pid == 0) return run_here(what, work);
  return in_thread([&] { return stand_in(namespace_pid, {preferred_pid, 0, 0}, false, what, work); });
}

}  // namespace perdure
