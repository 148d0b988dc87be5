#include "supervisor/group_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "linux/process.h"
#include "supervisor/survivor.h"

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
  if (label.starts_with('-')) return failure(fmt::format("the label '{}' could be taken for a time: let it not begin with '-'", label));
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

namespace {

/// Holds a directory nothing but what the making of a store begins with? Then nothing was ever saved there.
bool is_unfinished(const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) return false;
  const auto begins_a_store = [](const std::filesystem::directory_entry& entry) {
    const std::string file = entry.path().filename();
    return file == "lock" || file == "store" || file == "store.new" || file.starts_with("property.");
  };
  const std::filesystem::directory_iterator entries(directory, error);
  return !error && std::ranges::all_of(entries, begins_a_store);
}

}  // namespace

Error explain_busy(Error error, const std::string& name) {
  if (error.error_number != EBUSY) return error;
  constexpr std::string_view kHolder = "in use by ";
  const size_t holder = error.what.rfind(kHolder);
  const std::string by = holder == std::string::npos ? "" : " (" + error.what.substr(holder + kHolder.size()) + ")";
  return Error{fmt::format("group '{0}' is running{1}: end it first with perdure kill {0}", name, by)};
}

Error no_group(const std::string& root, const std::string& name) {
  std::error_code error;
  if (std::filesystem::exists(root, error) && !std::filesystem::is_directory(root, error)) return Error{"the store root " + root, ENOTDIR};
  if (access(root.c_str(), R_OK | X_OK) != 0 && errno == EACCES) return Error{fmt::format("read the store root {} (its owner is another user)", root), EACCES};
  return Error{fmt::format("there is no group '{}' under {}", name, root)};
}

void discard_unfinished(const std::string& directory) {
  const auto lock = store::Store::keep_writers_out(directory);
  std::error_code error;
  if (lock && is_unfinished(directory)) std::filesystem::remove_all(directory, error);
}

Result<void> remove_group(const std::string& root, const std::string& name) {
  TRY(check_name(name));
  const std::string directory = group_directory(root, name);
  if (!store::Store::exists(directory) && !is_unfinished(directory)) return std::unexpected(no_group(root, name));
  // Opening the store may fail for many reasons, the lock only for this one: a supervisor that owns it.
  const auto lock = store::Store::keep_writers_out(directory);
  if (!lock) return std::unexpected(explain_busy(lock.error(), name));
  const auto store = store::Store::open_read_only(directory);
  if (store && find_survivor(**store)) return failure(fmt::format("group '{0}' runs on, unpersisted: end it first with perdure kill {0}", name));
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  if (error) return std::unexpected(Error{"remove " + directory, error.value()});
  return {};
}

}  // namespace perdure::supervisor
