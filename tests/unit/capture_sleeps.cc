#include <gtest/gtest.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "capture/sleeps.h"

namespace perdure::capture {
namespace {

constexpr int64_t kMs = 1'000'000;

posix::ThreadBrief thread(uint64_t task, uint64_t nvcsw) {
  posix::ThreadBrief brief{};
  brief.task = task;
  brief.start_boottime_ns = 77;
  brief.nvcsw = nvcsw;
  brief.host_tid = static_cast<uint32_t>(getpid());
  brief.file_wait = posix::kRestartedWait;
  return brief;
}
posix::CallArguments poll_call(int timeout_ms) { return {SYS_poll, {0, 0, static_cast<uint64_t>(timeout_ms), 0, 0, 0}, 0}; }

TEST(Sleeps, ATimeoutRunsFromTheFirstSight) {
  Sleeps sleeps;
  EXPECT_EQ(sleeps.remaining_ns(thread(1, 10), poll_call(50), true, 1000 * kMs), 50 * kMs);
  EXPECT_EQ(sleeps.remaining_ns(thread(1, 10), poll_call(50), true, 1020 * kMs), 30 * kMs);
  EXPECT_EQ(sleeps.remaining_ns(thread(1, 11), poll_call(50), true, 1030 * kMs), 50 * kMs) << "another sleep";
  EXPECT_EQ(sleeps.remaining_ns(thread(1, 11), poll_call(50), true, 1090 * kMs), 0);
  EXPECT_EQ(sleeps.remaining_ns(thread(1, 11), poll_call(-1), false, 1090 * kMs), -1) << "no timeout";
}

TEST(Sleeps, AStructureInMemoryIsRead) {
  Sleeps sleeps;
  const timespec timeout{2, 5};
  const posix::CallArguments call{SYS_ppoll, {0, 0, reinterpret_cast<uint64_t>(&timeout), 0, 0, 0}, 0};
  EXPECT_EQ(sleeps.remaining_ns(thread(1, 1), call, true, 0), 2 * kNanosecondsPerSecond + 5);
}

TEST(Sleeps, TheKernelCountsATimeoutOfASocket) {
  Sleeps sleeps;
  EXPECT_EQ(sleeps.socket_remaining_ns(thread(1, 10), 40 * kMs, false, 1000 * kMs), 40 * kMs);
  EXPECT_EQ(sleeps.socket_remaining_ns(thread(1, 10), 30 * kMs, false, 1010 * kMs), 30 * kMs);
  EXPECT_EQ(sleeps.socket_remaining_ns(thread(1, 12), 40 * kMs, false, 1020 * kMs), 40 * kMs) << "another sleep";
  EXPECT_FALSE(sleeps.next_overdue_ns()) << "the kernel wakes it";
  EXPECT_EQ(sleeps.socket_remaining_ns(thread(1, 12), -1, false, 1020 * kMs), -1);
}

TEST(Sleeps, ACallThatIsTakenUpAgainKeepsItsDeadline) {
  Sleeps sleeps;
  sleeps.socket_remaining_ns(thread(1, 10), 40 * kMs, false, 1000 * kMs);
  EXPECT_EQ(sleeps.take_up_again(thread(1, 10), 1010 * kMs), 30 * kMs);
  EXPECT_EQ(sleeps.stopped_in_call(thread(1, 11), 1011 * kMs), 29 * kMs);
  EXPECT_EQ(sleeps.next_overdue_ns(), 1040 * kMs);
  EXPECT_EQ(sleeps.socket_remaining_ns(thread(1, 12), 38 * kMs, false, 1012 * kMs), 28 * kMs) << "the kernel began anew";
  EXPECT_TRUE(sleeps.overdue({thread(1, 12)}, 1039 * kMs).empty());
  EXPECT_EQ(sleeps.overdue({thread(1, 12)}, 1040 * kMs), std::set<uint64_t>{1});
  EXPECT_EQ(sleeps.take_up_again(thread(1, 12), 1041 * kMs), 0);
}

TEST(Sleeps, WhoHasNotTakenUpItsCallYetIsKnown) {
  Sleeps sleeps;
  posix::ThreadBrief sleeper = thread(1, 10);
  sleeper.instruction_pointer = 0x1002;
  sleeps.socket_remaining_ns(sleeper, 40 * kMs, false, 1000 * kMs);
  sleeps.take_up_again(sleeper, 1010 * kMs);
  posix::ThreadBrief stopped = thread(1, 11);
  stopped.instruction_pointer = 0x1000;
  EXPECT_TRUE(sleeps.is_about_to_take_up(stopped));
  EXPECT_EQ(sleeps.stopped_in_call(stopped, 1015 * kMs), 25 * kMs);
  stopped.instruction_pointer = 0x1002;
  EXPECT_FALSE(sleeps.is_about_to_take_up(stopped)) << "it is through with it";
}

TEST(Sleeps, AnotherCallHasADeadlineOfItsOwn) {
  Sleeps sleeps;
  sleeps.socket_remaining_ns(thread(1, 10), 40 * kMs, false, 1000 * kMs);
  sleeps.take_up_again(thread(1, 10), 1010 * kMs);
  posix::ThreadBrief elsewhere = thread(1, 12);
  elsewhere.instruction_pointer = 0x2000;
  EXPECT_EQ(sleeps.socket_remaining_ns(elsewhere, 40 * kMs, false, 1020 * kMs), 40 * kMs);
  EXPECT_FALSE(sleeps.next_overdue_ns());
}

TEST(Sleeps, WhoHasNotTakenUpItsCallInTimeIsLookedForAgain) {
  Sleeps sleeps;
  sleeps.impose(thread(1, 10), 0x1000, 1000 * kMs);
  posix::ThreadBrief late = thread(1, 10);
  late.file_wait = posix::kNoFileWait;
  EXPECT_TRUE(sleeps.overdue({late}, 1001 * kMs).empty());
  EXPECT_EQ(sleeps.overdue({thread(1, 11)}, 1002 * kMs), std::set<uint64_t>{1});
  EXPECT_TRUE(sleeps.overdue({late}, 1200 * kMs).empty());
  EXPECT_FALSE(sleeps.next_overdue_ns()) << "it went elsewhere";
}

TEST(Sleeps, WhoIsGoneIsNotOverdue) {
  Sleeps sleeps;
  sleeps.impose(thread(1, 10), 0x1000, 1000 * kMs);
  sleeps.impose(thread(2, 10), 0x1000, 1000 * kMs);
  sleeps.keep_only({thread(1, 10)});
  EXPECT_EQ(sleeps.overdue({thread(1, 10), thread(2, 10)}, 1001 * kMs), std::set<uint64_t>{1});
  EXPECT_TRUE(sleeps.overdue({}, 1001 * kMs).empty());
  EXPECT_FALSE(sleeps.next_overdue_ns()) << "it would be looked for again and again";
}

}  // namespace
}  // namespace perdure::capture
