// Where groups live: one directory each under the store root, its store and its control socket inside.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace perdure::supervisor {

/// The store root: `given`, else $PERDURE_STORE, else /var/lib/perdure.
std::string store_root(const std::string& given);
/// Error on a name that is no single, plain path component.
Result<void> check_name(const std::string& name);
/// Error on a label that is no plain word like a name, or that could be taken for an epoch's number or a time.
Result<void> check_label(const std::string& label);
/// What was given by a user, short enough for a message of one line.
std::string abbreviated(const std::string& text);
/// A group's directory.
std::string group_directory(const std::string& root, const std::string& name);
std::string control_socket_path(const std::string& directory);
/// Where what a detached group writes to its standard output and error goes.
std::string output_path(const std::string& directory);
/// Names of all groups under the root, sorted; none where there is no such directory.
Result<std::vector<std::string>> list_groups(const std::string& root);

/// The error of naming a group that is not there, or a root that cannot hold any.
Error no_group(const std::string& root, const std::string& name);

/// Removes the directory of a group whose store could not be made, unless another process has gone on with it.
void discard_unfinished(const std::string& directory);

/// Removes a group that is not running, with its history, or what was left of one that was never made in full.
Result<void> remove_group(const std::string& root, const std::string& name);

/// Turns the error of opening a store that another process has locked into one that says which group is running.
Error explain_busy(Error error, const std::string& name);

/// Properties of a group's store.
inline constexpr const char* kStateProperty = "state";
inline constexpr const char* kStateLive = "live";
inline constexpr const char* kStateEnded = "ended";
inline constexpr const char* kCommandProperty = "command";

}  // namespace perdure::supervisor
