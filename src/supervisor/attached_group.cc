#include "supervisor/attached_group.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "linux/process.h"

namespace perdure::supervisor {

namespace {

/// Where cgroup v2 is mounted: of its own or beside version 1.
Result<std::string> cgroup_mount() {
  std::istringstream mounts(TRY(read_file("/proc/mounts")));
  std::string device;
  std::string path;
  std::string type;
  for (std::string rest; mounts >> device >> path >> type && std::getline(mounts, rest);) {
    if (type == "cgroup2") return path;
  }
  return failure("cgroup version 2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified");
}

/// The process's cgroup v2: the line "0::/path" of /proc/PID/cgroup.
Result<std::string> cgroup_of(pid_t pid) {
  std::istringstream lines(TRY(read_file(fmt::format("/proc/{}/cgroup", pid))));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  return failure(fmt::format("process {} is in no cgroup of version 2", pid));
}

/// The kernel lists a child with the thread that forked it. A process that ends meanwhile has none.
std::set<pid_t> children_of(pid_t pid) {
  std::set<pid_t> children;
  std::error_code error;
  std::filesystem::directory_iterator thread(fmt::format("/proc/{}/task", pid), error);
  for (; !error && thread != std::filesystem::directory_iterator(); thread.increment(error)) {
    const auto list = read_file(thread->path() / "children");
    if (!list) continue;
    std::istringstream numbers(*list);
    for (pid_t child = 0; numbers >> child;) children.insert(child);
  }
  return children;
}

void add_descendants(pid_t pid, std::set<pid_t>& found) {
  if (!found.insert(pid).second) return;
  for (const pid_t child : children_of(pid)) add_descendants(child, found);
}

}  // namespace

void AttachedGroup::sweep(const std::string& name) {
  const auto mount = cgroup_mount();
  if (!mount) return;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(*mount, error)) {
    if (entry.path().filename().string().starts_with("perdure." + name + ".")) ::rmdir(entry.path().c_str());
  }
}

Result<std::unique_ptr<AttachedGroup>> AttachedGroup::gather(const std::string& name, pid_t pid) {
  std::unique_ptr<AttachedGroup> group(new AttachedGroup);
  group->pid_ = pid;
  group->pidfd_ = TRY(open_pidfd(pid));
  for (int number = 0; number < 3; ++number) {
    if (auto stream = duplicate_descriptor(group->pidfd_.get(), number)) group->streams_[static_cast<size_t>(number)] = std::move(*stream);
  }
  const std::string mount = TRY(cgroup_mount());
  group->origin_ = mount + TRY(cgroup_of(pid)) + "/cgroup.procs";
  const std::string directory = fmt::format("{}/perdure.{}.{}", mount, name, getpid());
  if (::mkdir(directory.c_str(), 0755) != 0) return system_error("make the cgroup " + directory);
  group->directory_ = directory;
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) return system_error("stat " + directory);
  group->cgroup_id_ = status.st_ino;
  TRY(group->move_descendants());
  return group;
}

/// Until a look finds nobody outside: what they start meanwhile is born inside if its parent is.
Result<void> AttachedGroup::move_descendants() {
  constexpr int kRoundsMax = 100;
  std::set<pid_t> moved;
  for (int round = 0; round < kRoundsMax; ++round) {
    std::set<pid_t> present;
    add_descendants(pid_, present);
    bool fresh = false;
    for (const pid_t pid : present) {
      if (!moved.insert(pid).second) continue;
      fresh = true;
      const auto written = write_file(directory_ + "/cgroup.procs", std::to_string(pid));
      if (!written && written.error().error_number != ESRCH) return std::unexpected(written.error());
    }
    if (!fresh) return {};
  }
  return failure(fmt::format("process {} forks faster than its descendants can be gathered", pid_));
}

AttachedGroup::~AttachedGroup() {
  if (directory_.empty()) return;
  constexpr int kRoundsMax = 100;
  for (int round = 0; round < kRoundsMax && ::rmdir(directory_.c_str()) != 0; ++round) {
    const auto members = read_file(directory_ + "/cgroup.procs");
    if (!members) return;
    std::istringstream pids(*members);
    for (std::string pid; pids >> pid;) (void)write_file(origin_, pid);
    usleep(1000);
  }
}

}  // namespace perdure::supervisor
