// A seize that would wait for ever is given up; one that only waits is waited for.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/clock.h"
#include "linux/process.h"
#include "linux/ptrace.h"
#include "linux/seize_patience.h"
#include "linux_child.h"

namespace perdure {
namespace {

using testing::Child;

constexpr int64_t kPatienceNs = 20'000'000;

/// Tells its number, and runs on.
void* run_second_thread(void* argument) {
  auto& shared = *static_cast<Child::Shared*>(argument);
  shared.word = static_cast<uint64_t>(::gettid());
  for (;;) ::pause();
}

/// Executes another program once told to, which ends all threads but one.
void execute_when_told(Child::Shared& shared) {
  pthread_t thread;
  if (::pthread_create(&thread, nullptr, run_second_thread, &shared) != 0) return;
  while (shared.word == 0) ::usleep(1000);
  shared.step = 1;
  while (shared.step != 2) ::usleep(1000);
  ::execl("/bin/sleep", "sleep", "1000", nullptr);
}

/// A process in execve(2) that goes on only once we have taken note of the end of its second thread, whose tracer we are.
class ProcessStuckInExec {
 public:
  ProcessStuckInExec() : child_(execute_when_told) {
    if (!child_.reaches(1)) return;
    second_ = static_cast<pid_t>(child_.shared().word);
    if (::ptrace(PTRACE_SEIZE, second_, 0, 0) != 0) return;
    child_.shared().step = 2;
    for (int tries = 0; tries < 10000 && process_state(second_) != 'Z'; ++tries) ::usleep(1000);
    stuck_ = process_state(second_) == 'Z';
  }
  ~ProcessStuckInExec() { let_go(); }

  bool stuck() const { return stuck_; }
  pid_t pid() const { return child_.pid(); }
  void let_go() {
    if (std::exchange(stuck_, false)) ::waitpid(second_, nullptr, __WALL);
  }

 private:
  Child child_;
  pid_t second_ = 0;
  bool stuck_ = false;
};

/// What a seize gives when the process is let go a while after it has begun: long enough for a timer to have struck many times.
int seize_and_be_let_in(ProcessStuckInExec& process) {
  const pid_t seizer = ::gettid();
  std::thread helper([&] {
    while (process_state(seizer) != 'S') std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::nanoseconds(10 * kPatienceNs));
    process.let_go();
  });
  const auto seized = TracedThread::seize(process.pid(), 0);
  helper.join();
  return seized ? 0 : seized.error().error_number;
}

TEST(SeizePatience, ASeizeThatWouldWaitForEverIsGivenUp) {
  ProcessStuckInExec process;
  ASSERT_TRUE(process.stuck());
  auto patience = SeizePatience::create();
  ASSERT_TRUE(patience) << patience.error().message();
  patience->arm(kPatienceNs);
  for (int time = 0; time < 3; ++time) {
    const int64_t begin_ns = monotonic_ns();
    const auto seized = TracedThread::seize(process.pid(), 0);
    ASSERT_FALSE(seized);
    EXPECT_EQ(seized.error().error_number, EINTR) << seized.error().message();
    EXPECT_LT(monotonic_ns() - begin_ns, 5 * kNanosecondsPerSecond);
  }
  patience->disarm();
  process.let_go();
  EXPECT_TRUE(TracedThread::seize(process.pid(), 0));
}

TEST(SeizePatience, OfMoreThanASecondIsPatienceToo) {
  ProcessStuckInExec process;
  ASSERT_TRUE(process.stuck());
  auto patience = SeizePatience::create();
  ASSERT_TRUE(patience);
  patience->arm(kNanosecondsPerSecond + kPatienceNs);
  const int64_t begin_ns = monotonic_ns();
  const auto seized = TracedThread::seize(process.pid(), 0);
  ASSERT_FALSE(seized);
  EXPECT_EQ(seized.error().error_number, EINTR);
  EXPECT_GT(monotonic_ns() - begin_ns, kNanosecondsPerSecond);
}

TEST(SeizePatience, DisarmedItLetsASeizeWait) {
  ProcessStuckInExec process;
  ASSERT_TRUE(process.stuck());
  auto patience = SeizePatience::create();
  ASSERT_TRUE(patience);
  patience->arm(kPatienceNs);
  patience->disarm();
  EXPECT_EQ(seize_and_be_let_in(process), 0);
}

TEST(SeizePatience, NeverArmedItLetsASeizeWait) {
  ProcessStuckInExec process;
  ASSERT_TRUE(process.stuck());
  const auto patience = SeizePatience::create();
  ASSERT_TRUE(patience);
  EXPECT_EQ(seize_and_be_let_in(process), 0);
}

TEST(SeizePatience, GoneItLetsASeizeWait) {
  ProcessStuckInExec process;
  ASSERT_TRUE(process.stuck());
  {
    auto patience = SeizePatience::create();
    ASSERT_TRUE(patience);
    patience->arm(kPatienceNs);
  }
  EXPECT_EQ(seize_and_be_let_in(process), 0);
}

}  // namespace
}  // namespace perdure
