#include "supervisor/attached_group.h"

#include <fmt/format.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "linux/process.h"
#include "linux/process_tree.h"

namespace perdure::supervisor {

namespace {

constexpr std::string_view kPrefix = "perdure.";

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

Result<Fd> open_directory(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return system_error("open " + path);
  return fd;
}

}  // namespace

std::optional<std::string> AttachedGroup::group_of(pid_t pid) {
  const auto mount = cgroup_mount();
  const auto cgroup = cgroup_of(pid);
  if (!mount || !cgroup || !cgroup->starts_with("/" + std::string(kPrefix))) return {};
  // The program may have made cgroups of its own inside.
  const std::string outermost = cgroup->substr(1, cgroup->find('/', 1) - 1);
  const auto directory = open_directory(*mount + "/" + outermost);
  if (!directory || ::flock(directory->get(), LOCK_SH | LOCK_NB) == 0) return {};
  return outermost.substr(kPrefix.size(), outermost.rfind('.') - kPrefix.size());
}

void AttachedGroup::sweep(const std::string& name) {
  const auto mount = cgroup_mount();
  if (!mount) return;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(*mount, error)) {
    if (entry.path().filename().string().starts_with(fmt::format("{}{}.", kPrefix, name))) ::rmdir(entry.path().c_str());
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
  const std::string directory = fmt::format("{}/{}{}.{}", mount, kPrefix, name, getpid());
  if (::mkdir(directory.c_str(), 0755) != 0) return system_error("make the cgroup " + directory);
  group->directory_ = directory;
  group->held_ = TRY(open_directory(directory));
  if (::flock(group->held_.get(), LOCK_EX) != 0) return system_error("lock " + directory);
  struct stat status {};
  if (::fstat(group->held_.get(), &status) != 0) return system_error("stat " + directory);
  group->cgroup_id_ = status.st_ino;
  TRY(group->move_descendants());
  return group;
}

/// Takes in those that one look finds outside; false when there were none. `moved` are those that were taken in before: one that has ended since
/// belongs to no cgroup, but still shows.
Result<bool> AttachedGroup::move_those_outside(std::set<pid_t>& moved) {
  std::set<pid_t> outside = with_descendants(pid_);
  // Read after the look: whoever was born inside is there by now.
  std::istringstream members(TRY(read_file(directory_ + "/cgroup.procs")));
  for (pid_t member = 0; members >> member;) outside.erase(member);
  for (const pid_t member : moved) outside.erase(member);
  for (const pid_t pid : outside) {
    auto written = write_file(directory_ + "/cgroup.procs", std::to_string(pid));
    if (!written && written.error().error_number != ESRCH) {
      return std::unexpected(std::move(written).error().in(fmt::format("take process {} into the group's cgroup", pid)));
    }
  }
  moved.insert(outside.begin(), outside.end());
  return !outside.empty();
}

/// What they start meanwhile is born inside if its parent is. A look can miss a process that is handed from a parent that ends to another, so
/// that one that finds nobody is not enough.
Result<void> AttachedGroup::move_descendants() {
  constexpr int kLooksMax = 100;
  constexpr int kQuietLooks = 2;
  std::set<pid_t> moved;
  int quiet = 0;
  for (int look = 0; look < kLooksMax && quiet < kQuietLooks; ++look) quiet = TRY(move_those_outside(moved)) ? 0 : quiet + 1;
  if (quiet == kQuietLooks) return {};
  return failure(fmt::format("process {} forks faster than its descendants can be gathered", pid_));
}

AttachedGroup::~AttachedGroup() {
  if (directory_.empty()) return;
  constexpr int kRoundsMax = 100;
  for (int round = 0; round < kRoundsMax && ::rmdir(directory_.c_str()) != 0; ++round) {
    const auto members = read_file(directory_ + "/cgroup.procs");
    if (!members) return;
    const std::filesystem::path root = std::filesystem::path(directory_).parent_path() / "cgroup.procs";
    const std::string& home = ::access(origin_.c_str(), F_OK) == 0 ? origin_ : root.native();
    std::istringstream pids(*members);
    for (std::string pid; pids >> pid;) (void)write_file(home, pid);
    usleep(1000);
  }
}

}  // namespace perdure::supervisor
