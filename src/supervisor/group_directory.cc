#include "supervisor/group_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "linux/process.h"

namespace perdure::supervisor {

namespace {

constexpr const char* kPlainWord = "up to 64 letters, digits, '-', '_' and '.'";

bool is_plain(const std::string& word) {
  constexpr size_t kLengthMax = 64;
  const bool plain = std::ranges::all_of(word, [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
  return !word.empty() && word.size() <= kLengthMax && plain && word.front() != '.';
}

}  // namespace

std::string store_root(const std::string& given) {
  if (!given.empty()) return given;
  const char* environment = std::getenv("PERDURE_STORE");
  return environment != nullptr && *environment != '\0' ? environment : "/var/lib/perdure";
}

Result<void> check_name(const std::string& name) {
  if (is_plain(name)) return {};
  return failure(fmt::format("'{}' cannot name a group: use {}", abbreviated(name), kPlainWord));
}

Result<void> check_label(const std::string& label) {
  if (!is_plain(label)) return failure(fmt::format("'{}' cannot label a checkpoint: use {}", abbreviated(label), kPlainWord));
  const bool number = std::ranges::all_of(label, [](unsigned char c) { return std::isdigit(c) != 0; });
  if (number) return failure(fmt::format("the label '{}' could be taken for an epoch", label));
  return {};
}

std::string abbreviated(const std::string& text) {
  constexpr size_t kShownMax = 80;
  return text.size() > kShownMax ? text.substr(0, kShownMax) + "..." : text;
}

std::string group_directory(const std::string& root, const std::string& name) { return root + "/" + name; }
std::string control_socket_path(const std::string& directory) { return directory + "/control.sock"; }
std::string output_path(const std::string& directory) { return directory + "/output"; }

Result<std::vector<std::string>> list_groups(const std::string& root) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root, error)) {
    if (entry.is_directory(error) && store::Store::exists(entry.path())) names.push_back(entry.path().filename());
  }
  if (error && error.value() != ENOENT) return std::unexpected(Error{"list the groups under " + root, error.value()});
  std::ranges::sort(names);
  return names;
}

std::optional<pid_t> find_supervisor(const std::string& directory) {
  const std::string path = directory + "/lock";
  const Fd lock(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  // As every reader does: who takes the lock tries again.
  if (!lock || ::flock(lock.get(), LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) return {};
  const auto holder = read_file(path);
  return holder ? std::atoi(holder->c_str()) : 0;
}

Error explain_busy(Error error, const std::string& name) {
  if (error.error_number != EBUSY) return error;
  const size_t holder = error.what.rfind("in use by");
  const std::string by = holder == std::string::npos ? "" : " (" + error.what.substr(holder) + ")";
  return Error{fmt::format("group '{0}' is already running{1}: perdure kill {0} ends it", name, by)};
}

}  // namespace perdure::supervisor
