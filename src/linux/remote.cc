#include "linux/remote.h"

#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>

#include "base/bytes.h"
#include "linux/process.h"

extern "C" {
extern const char perdure_syscall_stub_begin[];
extern const char perdure_syscall_stub_end[];
}

// r12: the call to make next (number, six arguments, result); r13: how many are left. Bit 32 of the number marks a tolerated error.
asm(R"(
  .pushsection .rodata
  .global perdure_syscall_stub_begin
  .global perdure_syscall_stub_end
perdure_syscall_stub_begin:
1:mov 0(%r12), %eax
  mov 8(%r12), %rdi
  mov 16(%r12), %rsi
  mov 24(%r12), %rdx
  mov 32(%r12), %r10
  mov 40(%r12), %r8
  mov 48(%r12), %r9
  syscall
  mov %rax, 56(%r12)
  cmp $-4095, %rax
  jb 2f
  cmpl $0, 4(%r12)
  je 3f
2:add $64, %r12
  dec %r13
  jnz 1b
3:int3
perdure_syscall_stub_end:
  .popsection
)");

namespace perdure {

namespace {

constexpr int kSyscallStop = SIGTRAP | 0x80;
constexpr uint64_t kTolerated = 1ull << 32;

bool is_event_of_creation(int status) {
  const int event = status >> 16;
  return event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE;
}

constexpr uint64_t kCodeSegment64 = 0x33;

}  // namespace

Result<uint64_t> find_vdso_syscall_offset() {
  const auto* vdso = reinterpret_cast<const unsigned char*>(getauxval(AT_SYSINFO_EHDR));
  if (vdso == nullptr) return failure("this kernel gives programs no vDSO (boot it without vdso=0)");
  for (size_t offset = 0; offset + 1 < kPageSize; ++offset) {
    if (vdso[offset] == 0x0f && vdso[offset + 1] == 0x05) return offset;
  }
  return failure("the vDSO of this kernel holds no syscall instruction in its first page");
}

Result<void> run_through_syscall(TracedThread& thread, std::vector<pid_t>* created) {
  // One stop on entry, one on exit; others (events of creation, a late interrupt, SIGSTOP, which nobody can block) lie between.
  constexpr int kStopsMax = 16;
  bool entered = false;
  int signal = 0;
  for (int stop = 0; stop < kStopsMax; ++stop) {
    const int status = TRY(thread.resume_and_wait(PTRACE_SYSCALL, signal));
    const bool at_syscall = WSTOPSIG(status) == kSyscallStop;
    signal = status >> 16 == 0 && !at_syscall ? WSTOPSIG(status) : 0;
    if (created != nullptr && is_event_of_creation(status)) created->push_back(TRY(thread.event_message()));
    if (at_syscall && std::exchange(entered, true)) return {};
  }
  return failure(fmt::format("thread {} did not finish an injected system call", thread.tid()));
}

Result<RemoteSyscalls> RemoteSyscalls::begin(TracedThread& thread, uint64_t syscall_address) {
  RemoteSyscalls remote(thread, syscall_address);
  auto saved = thread.registers();
  auto mask = thread.signal_mask();
  remote.thread_ = nullptr;
  if (!saved) return std::unexpected(saved.error());
  if (!mask) return std::unexpected(mask.error());
  // There the address would be cut and the numbers would mean other calls.
  if (saved->cs != kCodeSegment64) return failure(fmt::format("thread {} of the machine runs 32-bit code: this cannot be persisted", thread.tid()));
  TRY(thread.set_signal_mask(TracedThread::kAllSignals));
  remote.thread_ = &thread;
  remote.saved_ = *saved;
  remote.saved_mask_ = *mask;
  return remote;
}

RemoteSyscalls::RemoteSyscalls(RemoteSyscalls&& other) noexcept
    : thread_(std::exchange(other.thread_, nullptr)),
      address_(other.address_),
      saved_(other.saved_),
      saved_mask_(other.saved_mask_),
      created_(std::move(other.created_)) {}

RemoteSyscalls::~RemoteSyscalls() {
  if (thread_ == nullptr || thread_->gone()) return;
  // A thread that can no longer be written to has been killed: nothing is left to put back.
  if (thread_->set_registers(saved_)) (void)thread_->set_signal_mask(saved_mask_);
}

Result<int64_t> RemoteSyscalls::call(long number, std::array<uint64_t, 6> arguments) {
  user_regs_struct registers = saved_;
  registers.rip = address_;
  registers.rax = static_cast<uint64_t>(number);
  registers.orig_rax = ~0ull;
  registers.rdi = arguments[0];
  registers.rsi = arguments[1];
  registers.rdx = arguments[2];
  registers.r10 = arguments[3];
  registers.r8 = arguments[4];
  registers.r9 = arguments[5];
  TRY(thread_->set_registers(registers));
  TRY(run_through_syscall(*thread_, &created_));
  return static_cast<int64_t>(TRY(thread_->registers()).rax);
}

Result<uint64_t> RemoteSyscalls::checked(const char* what, long number, std::array<uint64_t, 6> arguments) {
  const int64_t result = TRY(call(number, arguments));
  if (result < 0 && result > -4096) {
    return std::unexpected(Error{fmt::format("{} in thread {}", what, thread_->tid()), static_cast<int>(-result)});
  }
  return static_cast<uint64_t>(result);
}

std::vector<pid_t> RemoteSyscalls::take_created() { return std::exchange(created_, {}); }

void SyscallBatch::add(std::string what, long number, std::array<uint64_t, 6> arguments) {
  calls_.push_back({static_cast<uint64_t>(number), arguments, 0});
  names_.push_back(std::move(what));
}

void SyscallBatch::add_tolerant(long number, std::array<uint64_t, 6> arguments) {
  calls_.push_back({static_cast<uint64_t>(number) | kTolerated, arguments, 0});
  names_.emplace_back();
}

uint64_t SyscallBatch::add_data(std::span<const std::byte> bytes) {
  const uint64_t address = stub_ + kPageSize + kCallCapacity * sizeof(Call) + data_.size();
  data_.insert(data_.end(), bytes.begin(), bytes.end());
  data_.resize(align_up(data_.size(), 8));
  return address;
}

uint64_t SyscallBatch::add_string(const std::string& text) {
  return add_data(std::as_bytes(std::span(text.c_str(), text.size() + 1)));
}

bool SyscallBatch::nearly_full() const {
  return calls_.size() > kCallCapacity - 64 || data_.size() > kDataBytes / 2;
}

Result<void> SyscallBatch::install(int process_memory, uint64_t stub) {
  const auto size = static_cast<size_t>(perdure_syscall_stub_end - perdure_syscall_stub_begin);
  return write_memory(process_memory, stub, std::as_bytes(std::span(perdure_syscall_stub_begin, size)));
}

Result<std::vector<int64_t>> SyscallBatch::run(TracedThread& thread, int process_memory) {
  if (calls_.empty()) return std::vector<int64_t>{};
  if (calls_.size() > kCallCapacity || data_.size() > kDataBytes) return failure("a batch of system calls is too large");
  const uint64_t table = stub_ + kPageSize;
  TRY(write_memory(process_memory, table, std::as_bytes(std::span(calls_))));
  if (!data_.empty()) {
    TRY(write_memory(process_memory, table + kCallCapacity * sizeof(Call), std::span<const std::byte>(data_)));
  }
  user_regs_struct registers = TRY(thread.registers());
  registers.rip = stub_;
  registers.rax = 0;
  registers.orig_rax = ~0ull;
  registers.r12 = table;
  registers.r13 = calls_.size();
  TRY(thread.set_registers(registers));
  for (;;) {
    const int status = TRY(thread.resume_and_wait(PTRACE_CONT));
    if (status >> 16 == 0 && WSTOPSIG(status) == SIGTRAP) break;
    if (is_event_of_creation(status)) created_.push_back(TRY(thread.event_message()));
    if (status >> 16 == 0) {
      return failure(fmt::format("thread {} got signal {} in an injected system call", thread.tid(), WSTOPSIG(status)));
    }
  }
  TRY(read_memory(process_memory, table, std::as_writable_bytes(std::span(calls_))));
  const uint64_t left = TRY(thread.registers()).r13;
  if (left != 0) {
    const size_t failed = calls_.size() - left;
    const Call& call = calls_[failed];
    return std::unexpected(
        Error{fmt::format("{} ({:x}, {:x}, {:x}, {:x})", names_[failed], call.arguments[0], call.arguments[1],
                          call.arguments[2], call.arguments[3]),
              static_cast<int>(-call.result)});
  }
  std::vector<int64_t> results;
  for (const Call& call : calls_) results.push_back(call.result);
  calls_.clear();
  names_.clear();
  data_.clear();
  return results;
}

}  // namespace perdure
