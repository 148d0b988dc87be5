#include <gtest/gtest.h>
#include <sys/stat.h>

#include <future>
#include <thread>

#include "store_scratch.h"
#include "supervisor/control.h"
#include "supervisor/group_directory.h"

namespace perdure::supervisor {
namespace {

TEST(ControlThreads, AnswersOneRequestAConnection) {
  store::testing::ScratchDirectory scratch;
  const std::string path = scratch.path() + "/control";
  auto server = ControlServer::start(path, [](const nlohmann::json& request) {
    if (request["command"] == "fail") return nlohmann::json{{"error", "no such thing"}};
    return nlohmann::json{{"echo", request["command"]}};
  });
  ASSERT_TRUE(server) << server.error().message();
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  std::vector<std::jthread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 20; ++round) {
        const auto reply = call_supervisor(path, {{"command", std::to_string(caller * 100 + round)}});
        ASSERT_TRUE(reply) << reply.error().message();
        EXPECT_EQ((*reply)["echo"], std::to_string(caller * 100 + round));
      }
    });
  }
  callers.clear();
  const auto refused = call_supervisor(path, {{"command", "fail"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what, "no such thing");
  server->reset();
  const auto gone = call_supervisor(path, {{"command", "x"}});
  ASSERT_FALSE(gone);
  EXPECT_TRUE(gone.error().error_number == ENOENT || gone.error().error_number == ECONNREFUSED) << gone.error().message();
}

TEST(ControlThreads, ARequestThatWaitsKeepsNoOtherWaiting) {
  store::testing::ScratchDirectory scratch;
  const std::string path = scratch.path() + "/control";
  std::promise<void> quick_one_was_served;
  auto server = ControlServer::start(path, [&, served = quick_one_was_served.get_future().share()](const nlohmann::json& request) {
    if (request["command"] == "quick") return nlohmann::json{{"echo", "quick"}};
    const bool in_time = served.wait_for(std::chrono::seconds(30)) == std::future_status::ready;
    return nlohmann::json{{"echo", in_time ? "slow" : "too slow"}};
  });
  ASSERT_TRUE(server) << server.error().message();
  auto slow = std::async(std::launch::async, [&] { return call_supervisor(path, {{"command", "slow"}}); });
  ASSERT_EQ(slow.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);  // by now it has surely come first
  EXPECT_TRUE(call_supervisor(path, {{"command", "quick"}}));
  quick_one_was_served.set_value();
  const auto reply = slow.get();
  ASSERT_TRUE(reply) << reply.error().message();
  EXPECT_EQ((*reply)["echo"], "slow");
}

TEST(GroupDirectory, NamesArePlainPathComponents) {
  for (const char* name : {"redis", "a-b_c.1", "X"}) EXPECT_TRUE(check_name(name)) << name;
  for (const char* name : {"", ".", "..", "a/b", "/", "a b\n"}) EXPECT_FALSE(check_name(name)) << name;
}

TEST(GroupDirectory, ListsGroupsAlone) {
  store::testing::ScratchDirectory scratch;
  EXPECT_TRUE(list_groups(scratch.path() + "/none")->empty());
  ASSERT_TRUE(store::Store::create(group_directory(scratch.path(), "two"), {}));
  ASSERT_TRUE(store::Store::create(group_directory(scratch.path(), "one"), {}));
  EXPECT_EQ(*list_groups(scratch.path()), (std::vector<std::string>{"one", "two"}));
}

TEST(GroupDirectory, TheRootIsGivenOrOfTheEnvironment) {
  ::setenv("PERDURE_STORE", "/from/environment", 1);
  EXPECT_EQ(store_root("/given"), "/given");
  EXPECT_EQ(store_root(""), "/from/environment");
  ::unsetenv("PERDURE_STORE");
  EXPECT_EQ(store_root(""), "/var/lib/perdure");
}

}  // namespace
}  // namespace perdure::supervisor
