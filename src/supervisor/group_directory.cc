#include "supervisor/group_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace perdure::supervisor {

std::string store_root(const std::string& given) {
  if (!given.empty()) return given;
  const char* environment = std::getenv("PERDURE_STORE");
  return environment != nullptr && *environment != '\0' ? environment : "/var/lib/perdure";
}

Result<void> check_name(const std::string& name) {
  constexpr size_t kNameMax = 64;
  const bool plain = std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
  if (name.empty() || name.size() > kNameMax || !plain || name.front() == '.') {
    return failure(fmt::format("'{}' cannot name a group: use up to {} letters, digits, '-', '_' and '.'", name, kNameMax));
  }
  return {};
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

Error explain_busy(Error error, const std::string& name) {
  if (error.error_number != EBUSY) return error;
  constexpr std::string_view kHolder = "in use by ";
  const size_t holder = error.what.rfind(kHolder);
  const std::string by = holder == std::string::npos ? "" : " (" + error.what.substr(holder + kHolder.size()) + ")";
  return Error{fmt::format("group '{0}' is running{1}: end it first with perdure kill {0}", name, by)};
}

Error no_group(const std::string& root, const std::string& name) { return Error{fmt::format("there is no group '{}' under {}", name, root)}; }

Result<void> remove_group(const std::string& root, const std::string& name) {
  TRY(check_name(name));
  const std::string directory = group_directory(root, name);
  if (!store::Store::exists(directory)) return std::unexpected(no_group(root, name));
  // Opening the store may fail for many reasons, the lock only for this one: a supervisor that owns it.
  const auto lock = store::Store::keep_writers_out(directory);
  if (!lock) return std::unexpected(explain_busy(lock.error(), name));
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  if (error) return std::unexpected(Error{"remove " + directory, error.value()});
  return {};
}

}  // namespace perdure::supervisor
