#include "supervisor/survivor.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "linux/process.h"

namespace perdure::supervisor {

namespace {

constexpr const char* kInitProperty = "init";

/// What no other process has, not even after a reboot: "PID start boot".
Result<std::string> identity_of(pid_t pid) {
  constexpr int kStartTime = 22;
  const std::string started = process_stat_field(pid, kStartTime);
  if (started.empty()) return failure(fmt::format("process {} is gone", pid));
  return fmt::format("{} {} {}", pid, started, TRY(read_file("/proc/sys/kernel/random/boot_id")));
}

}  // namespace

Result<void> remember_init(store::Store& store, pid_t init_pid) { return store.set_property(kInitProperty, TRY(identity_of(init_pid))); }

std::optional<Survivor> find_survivor(const store::Store& store) {
  const auto remembered = store.property(kInitProperty);
  if (!remembered || !*remembered) return {};
  const pid_t pid = std::atoi((*remembered)->c_str());
  auto init = open_pidfd(pid);
  if (!init) return {};
  // Once it is held by a descriptor its number cannot come to mean another process unseen.
  const auto identity = identity_of(pid);
  pollfd ended{init->get(), POLLIN, 0};
  if (!identity || *identity != **remembered || ::poll(&ended, 1, 0) != 0) return {};
  return Survivor{pid, std::move(*init)};
}

Result<void> end_survivor(const Survivor& survivor) {
  constexpr int kPatienceMs = 60'000;
  if (syscall(SYS_pidfd_send_signal, survivor.init.get(), SIGKILL, nullptr, 0) != 0 && errno != ESRCH) {
    return system_error(fmt::format("kill process {}", survivor.init_pid));
  }
  pollfd ended{survivor.init.get(), POLLIN, 0};
  if (::poll(&ended, 1, kPatienceMs) == 1) return {};
  return failure(fmt::format("process {}, the init of the group, does not die", survivor.init_pid));
}

}  // namespace perdure::supervisor
