#include "posix/thread_flags.h"

#include <asm/prctl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <thread>

namespace perdure::posix {

namespace {

/// Denies something to the calling thread, or permits it again. False where the machine cannot.
using Deny = bool (*)(bool denied);

bool deny_time_stamp(bool denied) { return ::prctl(PR_SET_TSC, denied ? PR_TSC_SIGSEGV : PR_TSC_ENABLE, 0, 0, 0) == 0; }
bool deny_cpuid(bool denied) { return ::syscall(SYS_arch_prctl, ARCH_SET_CPUID, denied ? 0 : 1) == 0; }

/// Other flags come and go by themselves, at each preemption for one: what is set each time while it is denied, and never while it is not.
Result<uint64_t> flag_that_follows(Deny deny, const char* what, const std::function<Result<uint64_t>()>& read) {
  constexpr int kAttemptsAtLeast = 3;
  constexpr int kAttemptsMax = 1000;
  if (!deny(false)) return 0;
  uint64_t candidates = ~0ull;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    const auto without = read();
    deny(true);
    const auto with = read();
    deny(false);
    candidates &= TRY(with) & ~TRY(without);
    if (candidates == 0) break;
    if (attempt + 1 >= kAttemptsAtLeast && std::has_single_bit(candidates)) return candidates;
  }
  return failure(fmt::format("cannot tell where the kernel keeps that a thread is denied {}", what));
}

}  // namespace

Result<ThreadFlags> find_thread_flags(const std::function<Result<uint64_t>()>& read) {
  Result<uint64_t> time_stamp = 0, cpuid = 0;
  std::thread([&] {
    time_stamp = flag_that_follows(deny_time_stamp, "the time stamp counter", read);
    cpuid = flag_that_follows(deny_cpuid, "CPUID", read);
  }).join();
  return ThreadFlags{.time_stamp_denied = TRY(std::move(time_stamp)), .cpuid_denied = TRY(std::move(cpuid))};
}

}  // namespace perdure::posix
