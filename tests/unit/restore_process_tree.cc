#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "linux/process.h"
#include "linux/remote.h"
#include "restore/task_builder.h"
#include "store_scratch.h"

namespace perdure::restore {
namespace {

struct Wanted {
  int pid, parent, group, session;
};

/// Parent, group and session of a process as its own PID namespace numbers them: /proc/PID/status and stat know the caller's numbers.
std::string relations(pid_t host_pid) {
  std::ifstream status("/proc/" + std::to_string(host_pid) + "/status");
  std::string found;
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("NSpid:") && !line.starts_with("NSpgid:") && !line.starts_with("NSsid:")) continue;
    found += line.substr(line.find_last_of(" \t") + 1) + " ";
  }
  return found;
}

TEST(ProcessTree, HasTheNumbersAndRelationsOfTheCheckpoint) {
  const std::vector<Wanted> wanted{{10, 2, 10, 10}, {25, 10, 10, 10}, {12, 25, 12, 10}, {300, 10, 300, 300}, {301, 300, 300, 300}};
  std::map<posix::ObjectId, std::string> records;
  posix::Object group;
  group.mutable_group()->set_root_pid(10);
  records[posix::kGroupObject] = group.SerializeAsString();
  posix::ObjectId next = 2;
  for (const Wanted& one : wanted) {
    posix::Object object;
    posix::Process& process = *object.mutable_process();
    process.set_pid(one.pid);
    process.set_parent_pid(one.parent);
    process.set_process_group(one.group);
    process.set_session(one.session);
    process.set_exit_signal(17);
    records[next++] = object.SerializeAsString();
  }
  const auto tree = posix::ObjectTree::decode(records);
  ASSERT_TRUE(tree) << tree.error().message();
  store::testing::ScratchDirectory scratch;
  auto store = store::Store::create(scratch.path() + "/s", {});
  ASSERT_TRUE(store) << store.error().message();
  ASSERT_TRUE((*store)->append({.epoch = 1}, store::Changes{}));
  const auto view = (*store)->view(1);
  const auto init = GroupInit::launch({});
  ASSERT_TRUE(init) << init.error().message();
  posix::RestoreContext context(*tree, **view, *init, {0, 1, 2});
  auto built = ProcessTree::build(context, *find_vdso_syscall_offset());
  ASSERT_TRUE(built) << built.error().message();
  ASSERT_EQ(built->processes().size(), wanted.size());
  for (const Wanted& one : wanted) {
    const BareProcess& process = *built->processes().at(one.pid);
    EXPECT_EQ(relations(process.host_pid), std::to_string(one.pid) + " " + std::to_string(one.group) + " " + std::to_string(one.session) + " ");
    EXPECT_EQ(process_state(process.host_pid), 't');
  }
}

TEST(ObjectTree, ADamagedRecordIsAnError) {
  EXPECT_FALSE(posix::ObjectTree::decode({{1, "\xff\xff\xff"}}));
  const auto empty = posix::ObjectTree::decode({});
  EXPECT_TRUE(!empty || !empty->group()) << "a checkpoint without a group";
}

}  // namespace
}  // namespace perdure::restore
