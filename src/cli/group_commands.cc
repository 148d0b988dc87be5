#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/moment.h"
#include "linux/process.h"
#include "store/store.h"
#include "supervisor/control.h"
#include "supervisor/group_directory.h"
#include "supervisor/history_report.h"
#include "supervisor/survivor.h"

namespace perdure::cli {

namespace {

using nlohmann::json;

struct GroupArguments {
  std::string name;
  std::string root;
  std::string label;
  bool as_json = false;
};

Result<json> ask(const GroupArguments& arguments, const char* command) { return ask_group(arguments.root, arguments.name, {{"command", command}}); }

/// Asks for what changes the group. A supervisor that is stuck gets no such request: it would carry it out whenever it goes on.
Result<json> order(const GroupArguments& arguments, const json& request, std::chrono::seconds patience = supervisor::kReplyPatience) {
  TRY(ask(arguments, "status"));
  return ask_group(arguments.root, arguments.name, request, patience);
}

/// What is known of a group without its supervisor.
json state_at_rest(const std::string& root, const std::string& name) {
  json report{{"name", name}, {"state", "crashed"}, {"pids", json::array()}};
  auto store = store::Store::open_read_only(supervisor::group_directory(root, name));
  if (!store) {
    report["state"] = "unreadable";
    report["store_error"] = store.error().message();
    return report;
  }
  const auto state = (*store)->property(supervisor::kStateProperty);
  // Without an epoch there is nothing to go on from, whatever happened.
  const bool ended = state && *state && **state == supervisor::kStateEnded;
  if (const auto survivor = ended ? std::nullopt : supervisor::find_survivor(**store)) {
    report["state"] = "unpersisted";
    report["init_pid"] = survivor->init_pid;
  } else if (ended || (*store)->last_epoch() == 0) {
    report["state"] = "ended";
  }
  if (!state) report["store_error"] = state.error().message();
  report["durable_epoch"] = (*store)->last_epoch();
  report["stored_bytes"] = (*store)->usage().stored_bytes;
  return report;
}

/// Of a group that has a supervisor, but not its word.
json state_unheard(const std::string& root, const std::string& name, pid_t supervisor, const Error& error) {
  json report = state_at_rest(root, name);
  report["state"] = "unresponsive";
  report["supervisor_pid"] = supervisor;
  report["not_persisted"] = fmt::format("its supervisor (process {}) {}", supervisor, means_absent(error) ? "starts or ends" : "is not answering");
  return report;
}

json state_of(const std::string& root, const std::string& name) {
  const std::string directory = supervisor::group_directory(root, name);
  auto status = supervisor::call_supervisor(supervisor::control_socket_path(directory), {{"command", "status"}});
  if (status) return *status;
  // One that has just ended has left the lock too.
  if (const auto supervisor = store::Store::writer_of(directory)) return state_unheard(root, name, *supervisor, status.error());
  return state_at_rest(root, name);
}

/// A figure that only a live group has.
std::string figure(const json& group, const char* field) {
  const double value = group.value(field, -1.0);
  return value < 0 ? "-" : fmt::format("{:.0f}", value);
}

std::string process_count(const json& group) {
  const std::string state = group.value("state", "");
  return state == "unresponsive" || state == "unpersisted" ? "-" : std::to_string(group["pids"].size());
}

/// What the user should know, most pressing first.
std::string notes(const json& group) {
  std::string text;
  const auto add = [&](const std::string& note) { text += (text.empty() ? "" : "; ") + note; };
  if (const std::string why = group.value("not_persisted", ""); !why.empty()) add("not persisted: " + why);
  if (const std::string why = group.value("store_error", ""); !why.empty()) add(why);
  if (group.value("state", "") == "unpersisted") {
    add(fmt::format("runs on unpersisted (init process {}): perdure kill ends it", group.value("init_pid", 0)));
  }
  if (group.value("state", "") == "crashed") add("resume it by the same perdure run, or perdure restore");
  if (const std::string why = group.value("sync_error", ""); !why.empty()) add("not safe from a power cut: " + why);
  if (group.value("disk_behind", false)) add("the disk is behind: the period stretches");
  if (group.value("detached", false)) add("detached: runs on, not persisted");
  else if (group.value("idle", false)) add("idle: nothing to save");
  return text;
}

int list(const GroupArguments& arguments) {
  const std::string root = supervisor::store_root(arguments.root);
  // The root by default is made by the first run.
  if (!arguments.root.empty() && access(root.c_str(), F_OK) != 0) return report(system_error("read the store root " + root).error());
  json groups = json::array();
  const auto names = supervisor::list_groups(root);
  if (!names) return report(names.error());
  for (const auto& name : *names) groups.push_back(state_of(root, name));
  if (arguments.as_json) {
    fmt::print("{}", json_text(groups));
    return kDone;
  }
  constexpr const char* kLine = "{:<20} {:<12} {:>9} {:>10} {:>9} {:>9} {:>12}  {}\n";
  fmt::print(fmt::runtime(kLine), "NAME", "STATE", "PROCESSES", "EPOCH", "AGE ms", "PAUSE us", "STORE bytes", "NOTES");
  for (const json& group : groups) {
    fmt::print(fmt::runtime(kLine), group.value("name", ""), group.value("state", ""), process_count(group), group.value("durable_epoch", 0ull),
               figure(group, "durable_age_ms"), figure(group, "pause_us"), group.value("stored_bytes", 0ull), notes(group));
  }
  return kDone;
}

int checkpoint(const GroupArguments& arguments) {
  if (!arguments.label.empty()) {
    if (const auto plain = supervisor::check_label(arguments.label); !plain) return report(plain.error(), kUsageError);
  }
  const json request{{"command", "checkpoint"}, {"label", arguments.label}};
  const auto reply = order(arguments, request, supervisor::kCheckpointPatience);
  if (!reply) return report(reply.error());
  if (arguments.as_json) fmt::print("{}", json_text({{"epoch", (*reply)["epoch"]}, {"label", arguments.label}}, -1));
  else fmt::print("{}\n", (*reply)["epoch"].get<uint64_t>());
  return kDone;
}

/// Ends what runs on of a group whose supervisor died. False when there is no such thing.
Result<bool> end_unsupervised(const GroupArguments& arguments) {
  if (store::Store::writer_of(supervisor::group_directory(supervisor::store_root(arguments.root), arguments.name))) return false;
  const auto store = open_group_store(arguments.root, arguments.name);
  if (!store) return false;
  const auto survivor = supervisor::find_survivor(**store);
  if (!survivor) return false;
  TRY(supervisor::end_survivor(*survivor));
  return true;
}

/// Returns when the supervisor is gone, so that the group's name is free again.
Result<void> end_group(const GroupArguments& arguments) {
  const auto answer = ask(arguments, "status");
  if (!answer) {
    if (TRY(end_unsupervised(arguments))) return {};
    return std::unexpected(answer.error());
  }
  const json& status = *answer;
  const Fd supervisor = TRY(open_pidfd(status["supervisor_pid"].get<pid_t>()));
  TRY(ask(arguments, "kill"));
  pollfd ended{supervisor.get(), POLLIN, 0};
  constexpr int kPatienceMs = 60'000;
  if (::poll(&ended, 1, kPatienceMs) == 1) return {};
  return failure(fmt::format("the supervisor of group '{}' (process {}) still runs", arguments.name, status["supervisor_pid"].get<pid_t>()));
}

int kill(const GroupArguments& arguments) {
  const auto ended = end_group(arguments);
  return ended ? kDone : report(ended.error());
}

/// From the supervisor while there is one, else from the store.
Result<json> read_history(const GroupArguments& arguments) {
  auto reply = ask(arguments, "log");
  if (reply) return (*reply)["epochs"];
  const auto store = TRY(open_group_store(arguments.root, arguments.name));
  return supervisor::history_report(*store);
}

int detach(const GroupArguments& arguments) {
  const auto reply = order(arguments, {{"command", "detach"}});
  return reply ? kDone : report(reply.error());
}

int log(const GroupArguments& arguments) {
  const auto epochs = read_history(arguments);
  if (!epochs) return report(epochs.error());
  if (arguments.as_json) {
    fmt::print("{}", json_text(*epochs));
    return kDone;
  }
  const auto line = [](const auto& epoch, const auto& time, const auto& pause, const auto& parts, const auto& dirty_pages, const auto& bytes, const auto& label) {
    fmt::print("{:>8}  {:<23} {:>10} {:>32} {:>12} {:>12}  {}\n", epoch, time, pause, parts, dirty_pages, bytes, label);
  };
  line("EPOCH", "TIME", "PAUSE us", "= STOP + OBJECTS + COPY + RESUME", "DIRTY pages", "BYTES", "LABEL");
  for (const json& epoch : *epochs) {
    const std::string parts = fmt::format("{} + {} + {} + {}", figure(epoch, "stop_us"), figure(epoch, "objects_us"), figure(epoch, "copy_us"), figure(epoch, "resume_us"));
    line(epoch["epoch"].get<uint64_t>(), clock_time(epoch["time_ns"].get<int64_t>()), figure(epoch, "pause_us"), parts,
         epoch["dirty_pages"].get<uint64_t>(), epoch["stored_bytes"].get<uint64_t>(), epoch["label"].get<std::string>());
  }
  return kDone;
}

}  // namespace

void add_group_commands(CLI::App& app, int& status) {
  const auto add = [&](const char* name, const char* help, bool named, bool prints, int (*action)(const GroupArguments&)) {
    auto arguments = std::make_shared<GroupArguments>();
    CLI::App* command = app.add_subcommand(name, help);
    if (named) command->add_option("name", arguments->name, "name of the group")->required();
    command->add_option("--store", arguments->root, "store root (default: $PERDURE_STORE, else /var/lib/perdure)");
    if (std::string_view(name) == "checkpoint") {
      command->add_option("--label", arguments->label,
                          "label of the checkpoint, for restore --at: up to 64 letters, digits, '-', '_' and '.', not digits alone, not beginning with '-'");
    }
    if (prints) command->add_flag("--json", arguments->as_json, "machine-readable output");
    command->callback([arguments, action, &status] { status = action(*arguments); });
  };
  add("ps", "list groups", false, true, list);
  add("checkpoint", "take a checkpoint now; returns when it is durable, prints its epoch", true, true, checkpoint);
  add("kill", "end a group", true, false, kill);
  add("detach", "stop persisting a group; its programs run on", true, false, detach);
  add("log", "the history of a group", true, true, log);
}

}  // namespace perdure::cli
