#include "linux/mount_watch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <sstream>
#include <tuple>
#include <vector>

#include "linux/process.h"

namespace perdure {

namespace {

struct Mount {
  std::string device, root, place;
  auto operator<=>(const Mount&) const = default;
};

/// One line is one mount: number, parent, device, root within the file system, place, ... (proc_pid_mountinfo(5)).
std::vector<Mount> parse(const std::string& text) {
  std::vector<Mount> mounts;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string number, parent;
    Mount mount;
    if (words >> number >> parent >> mount.device >> mount.root >> mount.place) mounts.push_back(std::move(mount));
  }
  std::ranges::sort(mounts);
  return mounts;
}

Result<std::string> read_from_start(int fd) {
  std::string text;
  std::array<char, 4096> part{};
  if (lseek(fd, 0, SEEK_SET) != 0) return system_error("read a list of mounts");
  for (ssize_t got = 0; (got = ::read(fd, part.data(), part.size())) != 0;) {
    if (got < 0) return system_error("read a list of mounts");
    text.append(part.data(), static_cast<size_t>(got));
  }
  return text;
}

}  // namespace

Result<MountWatch> MountWatch::open(pid_t host_pid) {
  const std::string path = fmt::format("/proc/{}/mountinfo", host_pid);
  Fd list(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!list) return system_error("open " + path);
  return MountWatch(std::move(list));
}

Result<std::string> MountWatch::own_mount() {
  pollfd change{list_.get(), POLLPRI, 0};
  if (poll(&change, 1, 0) < 0) return system_error("watch a list of mounts");
  if (read_ && change.revents == 0) return own_mount_;
  const auto theirs = parse(TRY(read_from_start(list_.get())));
  const auto ours = parse(TRY(read_file("/proc/thread-self/mountinfo")));
  std::vector<Mount> only_theirs;
  std::ranges::set_difference(theirs, ours, std::back_inserter(only_theirs));
  // One of each comes from init: whatever lies over them does not.
  std::set<std::string> from_init{"/proc", "/dev/pts"};
  const auto found = std::ranges::find_if(only_theirs, [&](const Mount& mount) { return from_init.erase(mount.place) == 0; });
  own_mount_ = found == only_theirs.end() ? "" : found->place;
  read_ = true;
  return own_mount_;
}

}  // namespace perdure
