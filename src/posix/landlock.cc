#include "posix/landlock.h"

#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bitset>
#include <semaphore>
#include <thread>

#include "base/fd.h"

namespace perdure::posix {

namespace {

using Words = std::bitset<kSecurityWords>;

bool has_landlock() { return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0; }

/// Confines the calling thread, and no other.
bool confine_thread() {
  const landlock_ruleset_attr attributes{.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK};
  const Fd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0)));
  return ruleset && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) == 0;
}

/// The words that were zero before a thread confined itself, and a kernel address afterwards.
Result<Words> words_that_change(const std::function<Result<CredentialsRecord>(pid_t)>& read) {
  std::binary_semaphore ready{0}, go{0}, confined{0}, end{0};
  pid_t tid = 0;
  bool succeeded = false;
  std::jthread thread([&] {
    tid = ::gettid();
    ready.release();
    go.acquire();
    succeeded = confine_thread();
    confined.release();
    end.acquire();
  });
  ready.acquire();
  const auto before = read(tid);
  go.release();
  confined.acquire();
  const auto after = read(tid);
  end.release();
  thread.join();
  if (!before) return std::unexpected(before.error());
  if (!after) return std::unexpected(after.error());
  if (!succeeded) return failure("cannot confine a thread by Landlock to see where the kernel keeps it");
  Words changed;
  for (size_t word = 0; word < kSecurityWords; ++word)
    changed[word] = before->security[word] == 0 && after->security[word] >= 1ull << 63;
  return changed;
}

}  // namespace

Result<LandlockSlot> find_landlock_slot(const std::function<Result<CredentialsRecord>(pid_t)>& read) {
  if (!has_landlock()) return LandlockSlot{};
  // Behind the modules' own words lies memory of others, mostly of other credentials, where the same may seem to happen by chance, even
  // each time. Before them lies nothing: the first word that changes so is the one.
  Words changed;
  changed.set();
  for (int attempt = 0; attempt < 3; ++attempt) changed &= TRY(words_that_change(read));
  if (changed.none()) return failure("cannot tell where the kernel keeps Landlock domains");
  LandlockSlot slot{.available = true};
  while (!changed[slot.word]) ++slot.word;
  return slot;
}

}  // namespace perdure::posix
