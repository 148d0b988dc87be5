#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <cstring>

#include "base/bytes.h"
#include "base/clock.h"
#include "linux/pagemap.h"
#include "linux/process.h"
#include "linux/remote.h"
#include "linux/remote_userfaultfd.h"
#include "linux/userfaultfd.h"
#include "linux_child.h"

namespace perdure {
namespace {

using testing::Child;

/// Counts in a register as long as nobody tampers with it.
void count_for_ever(Child::Shared& shared) {
  for (uint64_t expected = 1;; ++expected) {
    uint64_t value = expected - 1;
    __asm__ volatile("add $1, %0" : "+r"(value) : : "cc");
    if (value != expected) ++shared.faults;
    shared.step = expected;
  }
}

uint64_t vdso_of(pid_t pid) {
  const auto mappings = special_mappings(pid);
  if (!mappings) return 0;
  for (const auto& mapping : *mappings) {
    if (mapping.name == "[vdso]") return mapping.start;
  }
  return 0;
}

Result<TracedThread> stop(pid_t pid) {
  auto thread = TRY(TracedThread::seize(pid, PTRACE_O_TRACESYSGOOD));
  TRY(thread.interrupt());
  if (!TRY(thread.wait_for_stop(10 * kNanosecondsPerSecond))) return failure("it exited");
  return thread;
}

TEST(Driving, AStoppedThreadStandsStillAndGoesOn) {
  Child child(count_for_ever);
  ASSERT_TRUE(child.reaches(1));
  uint64_t stopped_at = 0;
  {
    auto thread = stop(child.pid());
    ASSERT_TRUE(thread) << thread.error().message();
    stopped_at = child.shared().step;
    ::usleep(20000);
    EXPECT_EQ(child.shared().step, stopped_at);
    EXPECT_EQ(process_state(child.pid()), 't');
  }
  EXPECT_TRUE(child.reaches(stopped_at + 1000));
  EXPECT_EQ(child.shared().faults, 0u);
}

TEST(Driving, SystemCallsAreMadeForUsAndLeaveNoTrace) {
  Child child(count_for_ever);
  ASSERT_TRUE(child.reaches(1));
  {
    auto thread = stop(child.pid());
    ASSERT_TRUE(thread) << thread.error().message();
    auto remote = RemoteSyscalls::begin(*thread, vdso_of(child.pid()) + *find_vdso_syscall_offset());
    ASSERT_TRUE(remote) << remote.error().message();
    EXPECT_EQ(remote->call(SYS_getpid, {}), child.pid());
    EXPECT_EQ(remote->call(SYS_close, {12345}), -EBADF);
    const auto refused = remote->checked("close it", SYS_close, {12345});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().error_number, EBADF);
  }
  EXPECT_TRUE(child.reaches(child.shared().step + 1000));
  EXPECT_EQ(child.shared().faults, 0u);
}

TEST(Driving, AUserfaultfdIsOpenedWithoutATrace) {
  Child child(count_for_ever);
  ASSERT_TRUE(child.reaches(1));
  const uint64_t vdso = vdso_of(child.pid());
  ASSERT_NE(vdso, 0u);
  user_regs_struct before{}, after{};
  uint64_t mask_before = 0, mask_after = 1;
  {
    auto thread = stop(child.pid());
    ASSERT_TRUE(thread) << thread.error().message();
    before = *thread->registers();
    mask_before = *thread->signal_mask();
    const auto userfaultfd = open_remote_userfaultfd(*thread, child.pid(), vdso, vdso + *find_vdso_syscall_offset());
    ASSERT_TRUE(userfaultfd) << userfaultfd.error().message();
    EXPECT_TRUE(enable_write_tracking(userfaultfd->get()));
    after = *thread->registers();
    mask_after = *thread->signal_mask();
  }
  EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0);
  EXPECT_EQ(mask_before, mask_after);
  EXPECT_TRUE(child.reaches(child.shared().step + 1000));
  EXPECT_EQ(child.shared().faults, 0u);
  EXPECT_FALSE(read_link("/proc/" + std::to_string(child.pid()) + "/fd/3").value_or("").starts_with("anon_inode:[userfaultfd]"));
}

TEST(Process, MemoryWithoutPermissionIsReadToo) {
  auto* memory = static_cast<std::byte*>(::mmap(nullptr, 3 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  std::memset(memory, 7, 3 * kPageSize);
  ASSERT_EQ(::mprotect(memory + kPageSize, kPageSize, PROT_NONE), 0);
  Child child([](Child::Shared& shared) { shared.step = 1; });
  ASSERT_TRUE(child.reaches(1));
  const auto address = reinterpret_cast<uint64_t>(memory);
  std::vector<std::byte> copy(3 * kPageSize);
  const RemotePiece piece{address, copy.size()};
  EXPECT_EQ(read_pieces(child.pid(), std::span(&piece, 1), copy.data()), kPageSize);
  const auto whole = open_process_memory(child.pid());
  ASSERT_TRUE(whole);
  ASSERT_TRUE(read_memory(whole->get(), address, copy));
  EXPECT_EQ(copy.back(), std::byte{7});
  EXPECT_EQ(copy[kPageSize], std::byte{7});
  EXPECT_FALSE(read_memory(whole->get(), 4096, std::span(copy).first(1))) << "an unmapped address";
  ::munmap(memory, 3 * kPageSize);
}

TEST(Process, StateOfAProcessThatIsGoneIsNone) {
  EXPECT_EQ(process_state(::getpid()), 'R');
  EXPECT_EQ(process_state(0x7ffffff), '\0');
}

}  // namespace
}  // namespace perdure
