// A writer killed at any moment, on a real file system.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "store_model.h"
#include "store_scratch.h"

namespace perdure::store::testing {
namespace {

constexpr Options kOptions{.keep_epochs = 5, .segment_bytes = 256 << 10};
constexpr WorkloadShape kShape{.pages = 30, .page_range = 300, .spaces = 3};

/// What epoch `epoch` changes is made from its number alone, so that parent and child agree on it.
Changes changes_of(EpochNumber epoch) {
  std::mt19937_64 random(epoch);
  Changes changes;
  random_changes(changes, kShape, random);
  return changes;
}

/// The child: appends for ever, and reports each epoch that is durable.
[[noreturn]] void write_until_killed(const std::string& directory, int report) {
  auto store = Store::open(directory, kOptions);
  if (!store) ::_exit(1);
  for (EpochNumber epoch = (*store)->last_epoch() + 1;; ++epoch) {
    if (!(*store)->append({.epoch = epoch}, changes_of(epoch))) ::_exit(2);
    if (::write(report, &epoch, sizeof epoch) != sizeof epoch) ::_exit(3);
    if (!(*store)->reclaim()) ::_exit(4);
  }
}

TEST(StoreKill, AKilledWriterLosesNothingDurable) {
  const ScratchDirectory scratch;
  const std::string directory = scratch.path() + "/group";
  ASSERT_TRUE(Store::create(directory, kOptions));
  std::mt19937_64 random(1);
  Model model;
  EpochNumber modelled = 0;
  for (int life = 0; life < 25; ++life) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    Fd reading(ends[0]), writing(ends[1]);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) write_until_killed(directory, writing.get());
    writing.reset();
    // However slow the machine, it gets to its second epoch at least.
    EpochNumber durable = modelled;
    for (int i = 0; i < 2; ++i) ASSERT_EQ(::read(reading.get(), &durable, sizeof durable), static_cast<ssize_t>(sizeof durable));
    ::usleep(static_cast<useconds_t>(random() % 20000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
    for (EpochNumber epoch; ::read(reading.get(), &epoch, sizeof epoch) == sizeof epoch;) durable = epoch;

    auto store = Store::open_read_only(directory);
    ASSERT_TRUE(store) << store.error().message();
    const EpochNumber last = (*store)->last_epoch();
    ASSERT_GE(last, durable);
    while (modelled < last) model.apply(changes_of(++modelled));
    if (last == 0) continue;
    EXPECT_EQ(difference(*(*store)->view(last).value(), model), "") << "life " << life << " epoch " << last;
  }
  EXPECT_GE(modelled, 50u);
  auto store = Store::open(directory, kOptions);
  ASSERT_TRUE(store) << store.error().message();
  const auto report = (*store)->verify({});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->damage.empty()) << report->damage[0];
}

}  // namespace
}  // namespace perdure::store::testing
