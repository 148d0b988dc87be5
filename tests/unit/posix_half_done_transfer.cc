// What a stop cut short goes on, instruction by instruction, and at each of them it is known how far it has come.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <array>
#include <cstring>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "linux/process.h"
#include "linux/ptrace.h"
#include "linux_child.h"
#include "posix/blocked_syscall.h"
#include "posix/half_done_transfer.h"

namespace perdure::posix {
namespace {

using testing::Child;

constexpr uint64_t kPieces = 4, kPieceBytes = 100, kTotal = (kPieces - 1) * kPieceBytes;

/// A stopped child with the pieces of a vector in its memory, one of which is empty, and descriptors to send them to.
class HalfDone : public ::testing::Test {
 protected:
  HalfDone() {
    EXPECT_EQ(::pipe(pipe_), 0);
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets_), 0);
    for (uint64_t i = 0; i < kTotal; ++i) bytes_[i] = static_cast<char>(i);
    for (uint64_t i = 0, at = 0; i < kPieces; at += vector_[i++].iov_len) vector_[i] = {&bytes_[at], i == 1 ? 0 : kPieceBytes};
    message_.msg_iov = vector_;
    message_.msg_iovlen = kPieces;
    start_child();
  }
  ~HalfDone() override {
    for (const int fd : {pipe_[0], pipe_[1], sockets_[0], sockets_[1]}) ::close(fd);
  }

  /// It has what this process has now.
  void start_child() {
    thread_.reset();
    child_ = std::make_unique<Child>([](Child::Shared& shared) {
      for (shared.step = 1;;) ::usleep(100);
    });
    EXPECT_TRUE(child_->reaches(1));
    stop_child();
  }

  void stop_child() {
    auto thread = TracedThread::seize(child_->pid(), PTRACE_O_TRACESYSGOOD);
    ASSERT_TRUE(thread);
    thread_ = std::make_unique<TracedThread>(std::move(*thread));
    EXPECT_TRUE(thread_->interrupt());
    EXPECT_TRUE(thread_->wait_for_stop(10 * kNanosecondsPerSecond));
    memory_ = std::move(*open_process_memory(child_->pid()));
    const auto mappings = special_mappings(child_->pid());
    for (const auto& mapping : *mappings)
      if (mapping.name == "[vdso]") vdso_ = mapping.start;
  }

  user_regs_struct entered(uint64_t number, uint64_t first, uint64_t second, uint64_t third, uint64_t fourth = 0) {
    user_regs_struct registers = *thread_->registers();
    registers.orig_rax = number;
    registers.rdi = first;
    registers.rsi = second;
    registers.rdx = third;
    registers.r10 = fourth;
    registers.rbx = 0xb0b;
    registers.r12 = 0x12;
    registers.r13 = 0x13;
    registers.r14 = 0x14;
    registers.r8 = 0x8;
    registers.r9 = 0x9;
    return registers;
  }

  /// Steps through the whole continuation of a call that has moved `done`; `moved` tells how much has arrived since.
  void step_through(const user_regs_struct& call, uint64_t done, uint64_t total, const std::function<uint64_t()>& moved) {
    const auto before = thread_->registers();
    const auto start = continue_transfer(memory_.get(), vdso_, {call, done, child_->pid()}, [](uint64_t) { return false; });
    ASSERT_TRUE(start) << start.error().message();
    ASSERT_TRUE(thread_->set_registers(*start));
    constexpr int kStepsMax = 300;
    for (int step = 0; step < kStepsMax; ++step) {
      const auto now = thread_->registers();
      ASSERT_TRUE(now);
      if (!is_in_continuation(vdso_, now->rip)) {
        expect_as_entered(*now, call);
        EXPECT_EQ(now->rax, total);
        EXPECT_EQ(moved(), total - done);
        ASSERT_TRUE(thread_->set_registers(*before));
        return;
      }
      const auto found = continued_transfer(memory_.get(), vdso_, *now);
      ASSERT_TRUE(found);
      expect_as_entered(found->transfer.entered, call);
      EXPECT_TRUE(found->finished || found->transfer.entered.orig_rax == call.orig_rax);
      ASSERT_EQ(found->transfer.done, done + moved()) << "step " << step << ", " << now->rip - start->rip << " bytes from the start";
      EXPECT_TRUE(!found->finished || found->transfer.done == total);
      ASSERT_TRUE(thread_->resume_and_wait(PTRACE_SINGLESTEP));
    }
    FAIL() << "it does not come to an end";
  }

  static void expect_as_entered(const user_regs_struct& found, const user_regs_struct& call) {
    const auto kept = [](const user_regs_struct& registers) {
      return std::array{registers.rbx, registers.rbp, registers.r12, registers.r13, registers.r14, registers.r15, registers.rsp, registers.rip,
                        registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8,  registers.r9};
    };
    EXPECT_EQ(kept(found), kept(call));
  }
  std::function<uint64_t()> queued(int fd) {
    int before = 0;
    ::ioctl(fd, FIONREAD, &before);
    return [=] {
      int bytes = 0;
      ::ioctl(fd, FIONREAD, &bytes);
      return static_cast<uint64_t>(bytes - before);
    };
  }
  static uint64_t address(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

  char bytes_[kTotal];
  iovec vector_[kPieces];
  msghdr message_{};
  int pipe_[2], sockets_[2];
  std::unique_ptr<Child> child_;
  std::unique_ptr<TracedThread> thread_;
  Fd memory_;
  uint64_t vdso_ = 0;
};

TEST_F(HalfDone, AWriteIntoAPipe) {
  step_through(entered(SYS_write, static_cast<uint64_t>(pipe_[1]), address(bytes_), kTotal), 7, kTotal, queued(pipe_[0]));
  char got[kTotal];
  EXPECT_EQ(::read(pipe_[0], got, sizeof got), static_cast<ssize_t>(kTotal - 7));
  EXPECT_EQ(std::memcmp(got, bytes_ + 7, kTotal - 7), 0);
}

TEST_F(HalfDone, AVectorIntoAPipe) {
  for (const uint64_t done : {1, 100, 150, 200, 299}) {
    step_through(entered(SYS_writev, static_cast<uint64_t>(pipe_[1]), address(vector_), kPieces), done, kTotal, queued(pipe_[0]));
    char got[kTotal];
    ASSERT_EQ(::read(pipe_[0], got, sizeof got), static_cast<ssize_t>(kTotal - done));
    EXPECT_EQ(std::memcmp(got, bytes_ + done, kTotal - done), 0);
  }
}

TEST_F(HalfDone, AVectorOrAMessageIntoASocket) {
  const auto socket = static_cast<uint64_t>(sockets_[1]);
  for (const user_regs_struct& call : {entered(SYS_writev, socket, address(vector_), kPieces), entered(SYS_sendmsg, socket, address(&message_), 0),
                                       entered(SYS_write, socket, address(bytes_), kTotal)}) {
    step_through(call, 120, kTotal, queued(sockets_[0]));
    char got[kTotal];
    ASSERT_EQ(::read(sockets_[0], got, sizeof got), static_cast<ssize_t>(kTotal - 120));
    EXPECT_EQ(std::memcmp(got, bytes_ + 120, kTotal - 120), 0);
  }
}

TEST_F(HalfDone, AReceiveOfAll) {
  ASSERT_EQ(::write(sockets_[1], bytes_, kTotal), static_cast<ssize_t>(kTotal));
  char got[80];
  ASSERT_EQ(::read(sockets_[0], got, sizeof got), 80);
  const auto left = queued(sockets_[0]);
  step_through(entered(SYS_recvmsg, static_cast<uint64_t>(sockets_[0]), address(&message_), MSG_WAITALL), 80, kTotal, [&] { return 0 - left(); });
}

TEST_F(HalfDone, ASendfile) {
  const Fd file(::memfd_create("perdure-test", 0));
  ASSERT_EQ(::write(file.get(), bytes_, kTotal), static_cast<ssize_t>(kTotal));
  ASSERT_EQ(::lseek(file.get(), 30, SEEK_SET), 30);
  start_child();
  step_through(entered(SYS_sendfile, static_cast<uint64_t>(sockets_[1]), static_cast<uint64_t>(file.get()), 0, kTotal), 30, kTotal, queued(sockets_[0]));
}

/// Alone it would have woken the sleeper, and ended the call with what had been moved: here it comes before the thread has run.
TEST_F(HalfDone, ASignalThatCameWhileItStoodStillEndsIt) {
  ASSERT_EQ(::fcntl(pipe_[1], F_SETFL, O_NONBLOCK), 0);
  const std::vector<char> block(kPageSize);
  while (::write(pipe_[1], block.data(), block.size()) > 0) continue;
  ASSERT_EQ(::fcntl(pipe_[1], F_SETFL, 0), 0);
  thread_.reset();
  child_ = std::make_unique<Child>([this](Child::Shared& shared) {
    ::signal(SIGUSR1, [](int) {});
    shared.step = 1;
    shared.word = static_cast<uint64_t>(::write(pipe_[1], bytes_, kTotal));
    shared.step = 2;
  });
  ASSERT_TRUE(child_->reaches(1));
  while (process_state(child_->pid()) != 'S') ::usleep(1000);
  stop_child();
  const auto call = *thread_->registers();
  ASSERT_EQ(call.orig_rax, static_cast<uint64_t>(SYS_write));
  constexpr uint64_t kDone = 7;
  const auto start = continue_transfer(memory_.get(), vdso_, {call, kDone, child_->pid()}, [](uint64_t) { return false; });
  ASSERT_TRUE(start);
  ASSERT_TRUE(thread_->set_registers(*start));
  ::kill(child_->pid(), SIGUSR1);
  thread_.reset();
  EXPECT_TRUE(child_->reaches(2)) << "it waits on for room in the pipe";
  EXPECT_EQ(child_->shared().word, kDone);
}

TEST(BlockedSyscall, ANumberInFrontOfACallIsNoResult) {
  const Fd memory(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
  const std::array<uint8_t, 4> code{0x0f, 0x05, 0x90, 0x90};
  user_regs_struct registers{};
  registers.orig_rax = registers.rax = SYS_recvfrom;
  registers.rip = reinterpret_cast<uint64_t>(code.data());
  EXPECT_TRUE(*is_to_be_made_again(registers, memory.get()));
  registers.rip += 2;
  EXPECT_FALSE(*is_to_be_made_again(registers, memory.get())) << "it has returned just as many bytes";
  registers.rip -= 2;
  registers.rax = 500;
  EXPECT_FALSE(*is_to_be_made_again(registers, memory.get()));
}

TEST_F(HalfDone, WhatIsWanted) {
  const auto wanted = [&](const user_regs_struct& call) { return *wanted_transfer(call, memory_.get()); };
  EXPECT_EQ(wanted(entered(SYS_writev, 1, address(vector_), kPieces))->count, kTotal);
  EXPECT_EQ(wanted(entered(SYS_sendmsg, 1, address(&message_), 0))->buffers.size(), kPieces);
  EXPECT_EQ(wanted(entered(SYS_recvmmsg, 1, 0, 5, 0))->unit, WantedTransfer::Unit::messages);
  EXPECT_FALSE(wanted(entered(SYS_recvmmsg, 1, 0, 5, MSG_WAITFORONE)));
  EXPECT_FALSE(wanted(entered(SYS_recvfrom, 1, 0, 5, 0))) << "may always return less";
  EXPECT_FALSE(wanted(entered(SYS_readv, 1, address(vector_), kPieces)));
  EXPECT_FALSE(wanted_transfer(entered(SYS_writev, 1, 8, 1), memory_.get())) << "a vector that is not there";
}

TEST_F(HalfDone, NoMoreThanThereIsRoomFor) {
  uint64_t places = 0;
  while (continuation_address(vdso_, places)) ++places;
  EXPECT_EQ(places, continuation_count());
  EXPECT_GE(places, 4u);
  const auto call = entered(SYS_write, static_cast<uint64_t>(pipe_[1]), address(bytes_), kTotal);
  EXPECT_FALSE(continue_transfer(memory_.get(), vdso_, {call, 1, child_->pid()}, [](uint64_t) { return true; }));
}

}  // namespace
}  // namespace perdure::posix
