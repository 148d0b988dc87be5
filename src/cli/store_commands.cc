// Commands that read a group's store: inspect, verify, rm.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/moment.h"
#include "cli/object_json.h"
#include "posix/object_tree.h"
#include "supervisor/group_directory.h"

namespace perdure::cli {

namespace {

struct StoreArguments {
  std::string name;
  std::string root;
  std::string at;
  bool as_json = false;
};

const char* kind_of(const posix::Object& object) {
  const auto* field = object.GetDescriptor()->FindFieldByNumber(static_cast<int>(object.body_case()));
  return field == nullptr ? "?" : field->name().c_str();
}

/// A line of what matters of an object; the whole of it is in --json.
std::string summary(const posix::Object& object) {
  switch (object.body_case()) {
    case posix::Object::kProcess: {
      const auto& process = object.process();
      return fmt::format("pid {} parent {} group {} session {} '{}'{}", process.pid(), process.parent_pid(), process.process_group(),
                         process.session(), process.name(), process.zombie() ? " zombie" : "");
    }
    case posix::Object::kThread:
      return fmt::format("tid {} of {} '{}'{}", object.thread().tid(), object.thread().pid(), object.thread().name(),
                         object.thread().has_blocked() ? fmt::format(" in system call {}", object.thread().blocked().number()) : "");
    case posix::Object::kAddressSpace: return fmt::format("{} mappings", object.address_space().mappings_size());
    case posix::Object::kDescriptorTable: return fmt::format("{} descriptors", object.descriptor_table().descriptors_size());
    case posix::Object::kInode: return object.inode().path();
    case posix::Object::kFileSystemContext: return object.file_system_context().working_directory();
    case posix::Object::kOpenFile: {
      const auto* kind = object.open_file().GetDescriptor()->FindFieldByNumber(static_cast<int>(object.open_file().kind_case()));
      return fmt::format("{} flags {:o} position {}", kind == nullptr ? "?" : kind->name(), object.open_file().flags(),
                         object.open_file().position());
    }
    default: return {};
  }
}

Result<void> inspect(const StoreArguments& arguments) {
  const auto store = TRY(open_group_store(arguments.root, arguments.name));
  const auto view = TRY(store->view(TRY(find_epoch(*store, arguments.name, arguments.at)).epoch));
  const auto tree = TRY(posix::ObjectTree::decode(view->objects()));
  std::string separator = "";
  if (arguments.as_json) fmt::print("{{\"epoch\":{},\"objects\":{{", view->info().epoch);
  else fmt::print("epoch {}\n", view->info().epoch);
  for (const auto& [id, object] : tree.objects()) {
    if (arguments.as_json) {
      fmt::print("{}\"{}\":{}", separator, id, object_json(object).dump());
      separator = ",\n";
    } else {
      const uint64_t pages = view->page_count(id);
      fmt::print("{:>6} {:<20} {}{}\n", id, kind_of(object), summary(object), pages == 0 ? "" : fmt::format(", {} pages", pages));
    }
  }
  if (arguments.as_json) fmt::print("}}}}\n");
  return {};
}

Result<store::VerifyReport> look_for_damage(const StoreArguments& arguments) {
  const auto store = TRY(open_group_store(arguments.root, arguments.name));
  const bool terminal = isatty(STDERR_FILENO) != 0;
  auto checked = store->verify([&](uint64_t done, uint64_t all) {
    if (terminal) fmt::print(stderr, "\rverified {} of {} MB", done >> 20, all >> 20);
  });
  if (terminal) fmt::print(stderr, "\r\033[K");
  return checked;
}

/// What a writer has reclaimed since the store was opened looks like damage: real damage is there the next time, too.
Result<store::VerifyReport> look_repeatedly(const StoreArguments& arguments) {
  constexpr int kLooks = 4;
  const std::string directory = supervisor::group_directory(supervisor::store_root(arguments.root), arguments.name);
  for (int look = 1;; ++look) {
    auto checked = look_for_damage(arguments);
    const bool may_be_reclaimed = !checked || !checked->damage.empty();
    if (look == kLooks || !may_be_reclaimed || !store::Store::writer_of(directory)) return checked;
  }
}

Result<void> verify(const StoreArguments& arguments) {
  const auto checked = TRY(look_repeatedly(arguments));
  for (const auto& damage : checked.damage) fmt::print("{}\n", damage);
  fmt::print("{} epochs, {} pages checked: {}\n", checked.epochs_checked, checked.pages_checked,
             checked.damage.empty() ? "whole" : fmt::format("{} damaged places", checked.damage.size()));
  if (!checked.damage.empty()) return failure(fmt::format("the store of group '{}' is damaged", arguments.name));
  return {};
}

Result<void> remove(const StoreArguments& arguments) {
  return supervisor::remove_group(supervisor::store_root(arguments.root), arguments.name);
}

/// The newest that was taken at or before `moment_ns`.
Result<store::EpochInfo> find_epoch_of(const std::vector<store::EpochInfo>& history, const std::string& name, int64_t moment_ns) {
  // The wall clock may have been set back between two of them.
  const auto found = std::find_if(history.rbegin(), history.rend(), [&](const auto& info) { return info.realtime_ns <= moment_ns; });
  if (found != history.rend()) return *found;
  return failure(fmt::format("group '{}' keeps no epoch as old as {}; its oldest, {}, was taken at {}: see perdure log {}", name, clock_time(moment_ns),
                             history.front().epoch, clock_time(history.front().realtime_ns), name));
}

}  // namespace

Result<store::EpochInfo> find_epoch(const store::Store& store, const std::string& name, const std::string& at) {
  const auto history = store.history();
  if (history.empty()) return failure(fmt::format("group '{}' has no checkpoint: it ended before its first was durable", name));
  if (at.empty()) return history.back();
  if (names_moment(at)) return find_epoch_of(history, name, TRY(parse_moment(at, realtime_ns())));
  const bool number = std::ranges::all_of(at, [](unsigned char c) { return std::isdigit(c) != 0; });
  for (auto info = history.rbegin(); info != history.rend(); ++info) {
    if (number ? std::to_string(info->epoch) == at : info->label == at) return *info;
  }
  return failure(fmt::format("group '{}' has no {} '{}'; its epochs are {} to {}: see perdure log {}", name,
                             number ? "epoch" : "epoch with the label", supervisor::abbreviated(at), history.front().epoch, history.back().epoch, name));
}

void add_store_commands(CLI::App& app, int& status) {
  const auto add = [&](const char* name, const char* help, bool at, Result<void> (*action)(const StoreArguments&)) {
    auto arguments = std::make_shared<StoreArguments>();
    CLI::App* command = app.add_subcommand(name, help);
    command->add_option("name", arguments->name, "name of the group")->required();
    command->add_option("--store", arguments->root, "store root (default: $PERDURE_STORE, else /var/lib/perdure)");
    if (at) {
      command->add_option("--at", arguments->at, "epoch, label or time (default: the newest epoch)");
      command->add_flag("--json", arguments->as_json, "machine-readable output");
    }
    command->callback([arguments, action, &status] {
      const auto done = action(*arguments);
      status = done ? kDone : report(done.error());
    });
  };
  add("inspect", "the objects of a checkpoint", true, inspect);
  add("verify", "check every checksum and reference of a group's store", false, verify);
  add("rm", "remove a group that is not running, with its history", false, remove);
}

}  // namespace perdure::cli
