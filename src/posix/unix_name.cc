#include "posix/unix_name.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/un.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <thread>

#include "posix/restore_context.h"

namespace perdure::posix {

namespace {

constexpr size_t kFamilySize = sizeof(sa_family_t);

Result<void> bind_name(int socket, const std::string& name) {
  if (bind(socket, reinterpret_cast<const sockaddr*>(name.data()), static_cast<socklen_t>(name.size())) == 0) return {};
  return system_error(fmt::format("bind a UNIX socket to '{}'", name.substr(std::min(name.size(), kFamilySize))));
}

std::string path_in(const std::string& name) { return std::string(name.c_str() + kFamilySize, strnlen(name.c_str() + kFamilySize, name.size() - kFamilySize)); }

/// A directory that stands in for the root directory while a socket is being bound: the kernel keeps the name as it is given, so it must lead
/// somewhere, and must not touch what really is there.
class ScratchRoot {
 public:
  static Result<ScratchRoot> create(int parent) {
    static std::atomic<unsigned> count = 0;
    ScratchRoot root;
    root.path_ = fmt::format("/proc/self/fd/{}/.perdure-{}-{}", parent, getpid(), count++);
    if (mkdir(root.path_.c_str(), 0700) != 0) return system_error("make a directory to bind a UNIX socket in");
    root.directory_ = Fd(open(root.path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root.directory_) return system_error("open a directory to bind a UNIX socket in");
    return root;
  }
  ScratchRoot(ScratchRoot&& other) noexcept : path_(std::exchange(other.path_, {})), directory_(std::move(other.directory_)) {}
  ScratchRoot& operator=(ScratchRoot&&) = delete;
  ~ScratchRoot() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

  int directory() const { return directory_.get(); }

  /// Binds within: the name's directories are made, and names that lead upwards end here.
  Result<void> bind(int socket, const std::string& name) const {
    std::optional<Result<void>> result;
    std::thread([&] { result = bind_inside(socket, name); }).join();
    return *result;
  }

 private:
  ScratchRoot() = default;
  Result<void> bind_inside(int socket, const std::string& name) const {
    if (unshare(CLONE_FS) != 0) return system_error("unshare the working directory");
    if (fchdir(directory_.get()) != 0 || chroot(".") != 0) return system_error("enter a directory to bind a UNIX socket in");
    std::filesystem::path made;
    for (const auto& part : std::filesystem::path(path_in(name)).parent_path()) {
      made /= part;
      if (part != ".." && part != "/" && mkdir(made.c_str(), 0700) != 0 && errno != EEXIST) return system_error("make a directory");
    }
    return bind_name(socket, name);
  }

  std::string path_;
  Fd directory_;
};

/// Where a bound name lies in the scratch root.
std::string place_inside(const std::string& name) {
  return (std::filesystem::path("/") / path_in(name)).lexically_normal().relative_path();
}

}  // namespace

bool is_path_name(const std::string& name) { return name.size() > kFamilySize && name[kFamilySize] != '\0'; }

Result<void> bind_unix_name(int socket, const std::string& name, RestoreContext&) {
  if (name.size() <= kFamilySize) return {};
  if (!is_path_name(name)) return bind_name(socket, name);
  const Fd parent(open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return system_error("open /tmp");
  return TRY(ScratchRoot::create(parent.get())).bind(socket, name);
}

Result<void> bind_unix_path(int socket, const UnixSocket& record, RestoreContext& context) {
  const std::filesystem::path place = record.path();
  const Fd parent = TRY(context.open_in_group(place.parent_path(), O_PATH | O_DIRECTORY));
  const ScratchRoot root = TRY(ScratchRoot::create(parent.get()));
  TRY(root.bind(socket, record.name()));
  const std::string bound = place_inside(record.name());
  if (fchmodat(root.directory(), bound.c_str(), record.mode() & 07777, 0) != 0 ||
      fchownat(root.directory(), bound.c_str(), record.uid(), record.gid(), AT_SYMLINK_NOFOLLOW) != 0 ||
      renameat(root.directory(), bound.c_str(), parent.get(), place.filename().c_str()) != 0) {
    return system_error(fmt::format("put UNIX socket '{}' back", record.path()));
  }
  return {};
}

Result<std::string> reachable_address(int socket, const std::string& name, Fd& file) {
  if (!is_path_name(name)) return name;
  file = Fd(ioctl(socket, SIOCUNIXFILE));
  if (!file) return system_error("open the file of a UNIX socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto end = fmt::format_to_n(address.sun_path, sizeof address.sun_path - 1, "/proc/self/fd/{}", file.get());
  return std::string(reinterpret_cast<const char*>(&address), offsetof(sockaddr_un, sun_path) + end.size + 1);
}

}  // namespace perdure::posix
