#include "linux/private_descriptors.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <optional>
#include <thread>

#include "linux/process.h"

namespace perdure {

namespace {

/// The highest free number within the limit is the one least likely to be wanted.
Result<Fd> out_of_the_way(const Fd& pidfd) {
  const long limit = sysconf(_SC_OPEN_MAX);
  for (long number = limit - 1; number > limit - 64; --number) {
    if (fcntl(static_cast<int>(number), F_GETFD) >= 0) continue;
    Fd moved(fcntl(pidfd.get(), F_DUPFD_CLOEXEC, static_cast<int>(number)));
    if (moved) return moved;
  }
  return failure("no descriptor number is free near the limit");
}

Result<void> work_privately(const std::function<Result<void>(int)>& work) {
  if (unshare(CLONE_FILES) != 0) return system_error("unshare the descriptor table");
  const Fd pidfd = TRY(open_pidfd(getpid()));
  const Fd own = TRY(out_of_the_way(pidfd));
  return work(own.get());
}

}  // namespace

Result<void> with_private_descriptors(const std::function<Result<void>(int)>& work) {
  std::optional<Result<void>> result;
  std::thread([&] { result = work_privately(work); }).join();
  return *result;
}

}  // namespace perdure
