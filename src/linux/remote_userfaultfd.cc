#include "linux/remote_userfaultfd.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "base/bytes.h"
#include "linux/process.h"
#include "linux/remote.h"
#include "linux/restart.h"

namespace perdure {

namespace {

constexpr uint64_t kUserModeOnly = 1;  // UFFD_USER_MODE_ONLY: what an unprivileged process may open
constexpr uint64_t flags_for(FaultsOf faults) { return O_CLOEXEC | O_NONBLOCK | (faults == FaultsOf::user_mode ? kUserModeOnly : 0); }

/// What the thread runs: it is entered with rax and rdi set for userfaultfd(2). No instruction touches the flags.
struct [[gnu::packed]] Stub {
  std::array<uint8_t, 11> open_and_close{0x0f, 0x05, 0x89, 0xc7, 0xb8, 3, 0, 0, 0, 0x0f, 0x05};  // syscall; mov %eax, %edi; mov $SYS_close, %eax; syscall
  std::array<uint8_t, 12> set_mask{0xb8, 14, 0, 0, 0, 0xbf, 2, 0, 0, 0, 0x48, 0xbe};  // mov $SYS_rt_sigprocmask, %eax; mov $SIG_SETMASK, %edi; mov ..., %rsi
  uint64_t mask_address = 0;
  std::array<uint8_t, 13> finish_mask{0xba, 0, 0, 0, 0, 0x41, 0xba, 8, 0, 0, 0, 0x0f, 0x05};  // mov $0, %edx; mov $8, %r10d; syscall
  std::array<uint8_t, 2> load_rax{0x48, 0xb8};
  uint64_t rax = 0;
  std::array<uint8_t, 2> load_rdi{0x48, 0xbf};
  uint64_t rdi = 0;
  std::array<uint8_t, 2> load_rsi{0x48, 0xbe};
  uint64_t rsi = 0;
  std::array<uint8_t, 2> load_rdx{0x48, 0xba};
  uint64_t rdx = 0;
  std::array<uint8_t, 2> load_r10{0x49, 0xba};
  uint64_t r10 = 0;
  std::array<uint8_t, 2> load_rcx{0x48, 0xb9};
  uint64_t rcx = 0;
  std::array<uint8_t, 2> load_r11{0x49, 0xbb};
  uint64_t r11 = 0;
  std::array<uint8_t, 6> leave{0xff, 0x25, 0, 0, 0, 0};  // jmp *0(%rip)
  uint64_t rip = 0;
  uint64_t mask = 0;
};
static_assert(sizeof(Stub) <= kRemoteUserfaultfdBytes);

/// The registers with which the thread goes on in user space: the kernel's business with an interrupted call is done by hand (signal(7)).
user_regs_struct gone_on(user_regs_struct registers) {
  constexpr uint64_t kSyscallBytes = 2;
  const auto value = static_cast<int64_t>(registers.rax);
  if (static_cast<int64_t>(registers.orig_rax) < 0) return registers;
  if (value == kRestartSys || value == kRestartNoInterrupt || value == kRestartNoHandler) registers.rax = registers.orig_rax;
  else if (value == kRestartBlock) registers.rax = SYS_restart_syscall;
  else return registers;
  registers.rip -= kSyscallBytes;
  return registers;
}

/// Puts a driven thread back where it was: first the signal mask, since the stub would do the rest.
class Driven {
 public:
  Driven(TracedThread& thread, const user_regs_struct& saved, uint64_t mask) : thread_(thread), saved_(saved), mask_(mask) {}
  Driven(const Driven&) = delete;
  Driven& operator=(const Driven&) = delete;
  // A thread that can no longer be written to has been killed: nothing is left to put back.
  ~Driven() {
    if (!thread_.gone() && thread_.set_signal_mask(mask_)) (void)thread_.set_registers(saved_);
  }

 private:
  TracedThread& thread_;
  const user_regs_struct saved_;
  const uint64_t mask_;
};

/// Of the thread itself, which may have a descriptor table of its own.
Result<Fd> take_over(int64_t number, pid_t pid) {
  if (number < 0) return std::unexpected(Error{fmt::format("open a userfaultfd in process {}", pid), static_cast<int>(-number)});
  return duplicate_descriptor_of(pid, static_cast<int>(number));
}

Result<Fd> drive_stub(TracedThread& thread, pid_t pid, uint64_t address, FaultsOf faults) {
  const user_regs_struct saved = TRY(thread.registers());
  const uint64_t mask = TRY(thread.signal_mask());
  const user_regs_struct after = gone_on(saved);
  Stub stub;
  stub.mask_address = address + offsetof(Stub, mask);
  stub.rax = after.rax;
  stub.rdi = after.rdi;
  stub.rsi = after.rsi;
  stub.rdx = after.rdx;
  stub.r10 = after.r10;
  stub.rcx = after.rcx;
  stub.r11 = after.r11;
  stub.rip = after.rip;
  stub.mask = mask;
  {
    const Fd memory = TRY(open_process_memory(pid));
    TRY(write_memory(memory.get(), address, std::as_bytes(std::span(&stub, 1))));
  }
  user_regs_struct entry = saved;
  entry.rip = address;
  entry.rax = SYS_userfaultfd;
  entry.rdi = flags_for(faults);
  entry.orig_rax = ~0ull;
  TRY(thread.set_registers(entry));
  const Driven driven(thread, saved, mask);
  TRY(thread.set_signal_mask(TracedThread::kAllSignals));
  TRY(run_through_syscall(thread, nullptr));
  auto taken = take_over(static_cast<int64_t>(TRY(thread.registers()).rax), thread.tid());
  TRY(run_through_syscall(thread, nullptr));
  return taken;
}

}  // namespace

VdsoRoom find_vdso_room() {
  const auto* image = reinterpret_cast<const unsigned char*>(getauxval(AT_SYSINFO_EHDR));
  if (image == nullptr) return {};
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof header);
  const uint64_t end = align_up(header.e_shoff + uint64_t{header.e_shentsize} * header.e_shnum, 16);
  const uint64_t image_size = align_up(end, kPageSize);
  for (uint64_t at = end; at < image_size; ++at) {
    if (image[at] != 0) return {};
  }
  return {end, image_size - end};
}

Result<Fd> open_remote_userfaultfd(TracedThread& thread, pid_t pid, uint64_t vdso, uint64_t syscall_address, FaultsOf faults) {
  static const VdsoRoom room = find_vdso_room();
  if (room.size >= kRemoteUserfaultfdBytes) return drive_stub(thread, pid, vdso + room.offset + room.size - kRemoteUserfaultfdBytes, faults);
  auto remote = TRY(RemoteSyscalls::begin(thread, syscall_address));
  const auto number = TRY(remote.call(SYS_userfaultfd, {flags_for(faults)}));
  auto taken = take_over(number, thread.tid());
  if (number >= 0) TRY(remote.checked("close a userfaultfd", SYS_close, {static_cast<uint64_t>(number)}));
  return taken;
}

}  // namespace perdure
