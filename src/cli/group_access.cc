// What every command needs of a group: its supervisor's ear, or its store.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "cli/commands.h"
#include "supervisor/group_directory.h"

namespace perdure::cli {

namespace {

/// Error unless the group exists.
Result<void> check_exists(const std::string& root, const std::string& name) {
  if (store::Store::exists(supervisor::group_directory(root, name))) return {};
  return std::unexpected(supervisor::no_group(root, name));
}

}  // namespace

bool means_absent(const Error& error) { return error.error_number == ENOENT || error.error_number == ECONNREFUSED; }

Result<nlohmann::json> ask_group(const std::string& given_root, const std::string& name, const nlohmann::json& request,
                                 std::chrono::seconds patience) {
  TRY(supervisor::check_name(name));
  const std::string root = supervisor::store_root(given_root);
  const std::string directory = supervisor::group_directory(root, name);
  auto reply = supervisor::call_supervisor(supervisor::control_socket_path(directory), request, patience);
  if (reply) return reply;
  const auto holder = store::Store::writer_of(directory);
  if (reply.error().error_number == ETIMEDOUT) {
    return failure(fmt::format("the supervisor of group '{}' (process {}) did not answer within {} s", name, holder.value_or(0), patience.count()));
  }
  if (!means_absent(reply.error())) return reply;
  TRY(check_exists(root, name));
  if (holder) return failure(fmt::format("group '{}' is not running at the moment: its supervisor (process {}) starts or ends", name, *holder));
  return failure(fmt::format("group '{}' is not running under {}", name, root));
}

Result<std::unique_ptr<store::Store>> open_group_store(const std::string& given_root, const std::string& name) {
  TRY(supervisor::check_name(name));
  const std::string root = supervisor::store_root(given_root);
  TRY(check_exists(root, name));
  return store::Store::open_read_only(supervisor::group_directory(root, name));
}

std::string json_text(const nlohmann::json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

int report(const Error& error, int status) {
  std::string line = error.message();
  // What was given on the command line may be in it.
  std::ranges::replace_if(line, [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  fmt::print(stderr, "perdure: {}\n", line);
  return status;
}

}  // namespace perdure::cli
