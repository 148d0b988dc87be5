#include "supervisor/attachable.h"

#include <fmt/format.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>

#include "linux/init_protocol.h"
#include "linux/process.h"
#include "linux/process_tree.h"
#include "supervisor/attached_group.h"

namespace perdure::supervisor {

namespace {

/// A number in a file of lines "Field: number"; 0 when there is none.
pid_t field_of(const std::string& path, const std::string& field) {
  std::istringstream lines(read_file(path).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(field)) return std::atoi(line.c_str() + field.size());
  }
  return 0;
}

/// The process that a thread belongs to; 0 when there is no such thread.
pid_t process_of(pid_t pid) { return field_of(fmt::format("/proc/{}/status", pid), "Tgid:"); }

bool is_kernel_thread(pid_t pid) {
  constexpr unsigned long kKernelThread = 0x00200000;  // PF_KTHREAD of linux/sched.h
  constexpr int kFlags = 9;
  return (std::strtoul(process_stat_field(pid, kFlags).c_str(), nullptr, 10) & kKernelThread) != 0;
}

/// The first thread of a process may be one while others live on.
bool is_zombie(pid_t pid) {
  if (process_state(pid) != 'Z') return false;
  std::error_code error;
  const std::filesystem::directory_iterator threads(fmt::format("/proc/{}/task", pid), error);
  return error || std::distance(begin(threads), end(threads)) <= 1;
}

bool is_ancestor_of_mine(pid_t pid) {
  for (pid_t mine = getpid(); mine > 0; mine = parent_of(mine)) {
    if (mine == pid) return true;
  }
  return false;
}

/// The name of the group whose init the process is, if its supervisor lives.
std::optional<std::string> group_of_init(pid_t pid) {
  const auto image = read_link(fmt::format("/proc/{}/exe", pid));
  if (!image || !image->starts_with("/memfd:" PERDURE_INIT_IMAGE)) return {};
  // What a pidfd shows once its process has ended is -1.
  if (field_of(fmt::format("/proc/{}/fdinfo/{}", pid, static_cast<int>(PERDURE_INIT_SUPERVISOR)), "Pid:") <= 0) return {};
  std::istringstream arguments(read_file(fmt::format("/proc/{}/cmdline", pid)).value_or(""));
  std::string name;
  for (int number = 0; number < 3; ++number) std::getline(arguments, name, '\0');
  return name;
}

/// The names of the groups that `run` and `restore` began, each with its PID namespace.
std::map<uint64_t, std::string> groups_with_namespaces() {
  std::map<uint64_t, std::string> groups;
  for (const pid_t pid : every_process()) {
    const auto name = group_of_init(pid);
    const auto inode = name ? namespace_inode(pid, "pid") : 0;
    if (name && inode) groups[*inode] = *name;
  }
  return groups;
}

/// The PID namespaces that a process is in, the innermost first: a program of a group may have made one.
std::vector<uint64_t> pid_namespaces(pid_t pid) {
  std::vector<uint64_t> inodes;
  Fd inside(::open(fmt::format("/proc/{}/ns/pid", pid).c_str(), O_RDONLY | O_CLOEXEC));
  for (struct stat status {}; inside && ::fstat(inside.get(), &status) == 0; inside = Fd(::ioctl(inside.get(), NS_GET_PARENT))) {
    inodes.push_back(status.st_ino);
  }
  return inodes;
}

Result<void> check_groups(pid_t pid) {
  const auto groups = groups_with_namespaces();
  for (const pid_t member : with_descendants(pid)) {
    const std::string who = member == pid ? fmt::format("process {}", pid) : fmt::format("process {} below process {}", member, pid);
    if (const auto name = AttachedGroup::group_of(member)) {
      return failure(fmt::format("{} belongs to group '{}' already: perdure detach {} lets go of it", who, *name, *name));
    }
    for (const uint64_t inode : pid_namespaces(member)) {
      if (const auto group = groups.find(inode); group != groups.end()) {
        return failure(fmt::format("{} belongs to group '{}' already, which perdure itself started", who, group->second));
      }
    }
  }
  return {};
}

}  // namespace

Result<void> check_attachable(pid_t pid) {
  const pid_t process = process_of(pid);
  if (process == 0) return failure(fmt::format("there is no process {}", pid));
  if (process != pid) return failure(fmt::format("{0} is a thread of process {1}: attach to {1}", pid, process));
  if (is_kernel_thread(pid)) return failure(fmt::format("process {} is a kernel thread: it cannot be persisted", pid));
  if (is_zombie(pid)) return failure(fmt::format("process {} is a zombie: it has ended, and waits for its parent only", pid));
  if (is_ancestor_of_mine(pid)) {
    return failure(fmt::format("process {} is an ancestor of this command, which cannot persist itself: attach from outside of it", pid));
  }
  return check_groups(pid);
}

}  // namespace perdure::supervisor
