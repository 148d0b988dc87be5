// The subcommands; each registers itself and puts its exit status into `status` when it has run.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/result.h"
#include "store/store.h"
#include "supervisor/control.h"
#include "supervisor/supervisor.h"

namespace perdure::cli {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsageError = 2;
inline constexpr int kPerdureFailed = 125;

void add_run(CLI::App& app, int& status);
void add_attach(CLI::App& app, int& status);
void add_group_commands(CLI::App& app, int& status);
void add_store_commands(CLI::App& app, int& status);
void add_doctor(CLI::App& app, int& status);
void add_exec(CLI::App& app, int& status);

/// A request to the group's supervisor, and its reply. Error, ready for the user, if there is no such group, nobody supervises it, or its
/// supervisor does not answer.
Result<nlohmann::json> ask_group(const std::string& root, const std::string& name, const nlohmann::json& request,
                                 std::chrono::seconds patience = supervisor::kReplyPatience);

/// Whether a call to a supervisor failed because there is none at the socket.
bool means_absent(const Error& error);

/// A group's store, for reading.
Result<std::unique_ptr<store::Store>> open_group_store(const std::string& root, const std::string& name);

/// The epoch that `at` means: a number, a label (the newest epoch that bears it), or a time (see parse_moment(); the newest epoch taken at or before
/// it); empty: the newest epoch. Error when there is none.
Result<store::EpochInfo> find_epoch(const store::Store& store, const std::string& name, const std::string& at);

/// Runs a group by `run_here`, in a process of its own without a terminal. Returns when its first checkpoint is durable, or its end
/// (with its exit status) came before.
int run_in_background(const supervisor::RunOptions& options, int (*run_here)(const supervisor::RunOptions&));

/// JSON as the commands print it; what is not UTF-8 is replaced.
std::string json_text(const nlohmann::json& value, int indent = 2);

/// Prints "perdure: message" to stderr, on one line, and returns `status`.
int report(const Error& error, int status = kFailed);

/// A duration of at most a day in nanoseconds; a plain number is milliseconds.
Result<int64_t> parse_duration_ns(const std::string& text);
/// "250us", "10ms", "1.5s", "5m" or "2h" in nanoseconds; a number alone is so many times `plain_ns`. Not a number where it is neither.
double nanoseconds_of(const std::string& text, double plain_ns);

}  // namespace perdure::cli
