// `perdure doctor`: what this machine offers and lacks, and how to mend it.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "linux/process.h"
#include "linux/remote.h"
#include "linux/userfaultfd.h"
#include "posix/collector.h"

namespace perdure::cli {

namespace {

struct Check {
  const char* name;
  bool required;
  const char* remedy;
  std::function<Result<std::string>()> probe;  ///< what was found
};

Result<std::string> kernel_version() {
  utsname names{};
  uname(&names);
  int major = 0;
  int minor = 0;
  if (sscanf(names.release, "%d.%d", &major, &minor) != 2 || major * 100 + minor < 607) return failure(names.release);
  return std::string(names.release);
}

Result<std::string> capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  if (syscall(SYS_capget, &header, data.data()) != 0) return system_error("capget");
  const uint64_t effective = data[0].effective | uint64_t{data[1].effective} << 32;
  struct Wanted {
    int number;
    const char* name;
  };
  constexpr std::array<Wanted, 8> kWanted{{{CAP_SYS_ADMIN, "SYS_ADMIN"},
                                           {CAP_SYS_PTRACE, "SYS_PTRACE"},
                                           {CAP_BPF, "BPF"},
                                           {CAP_PERFMON, "PERFMON"},
                                           {CAP_CHECKPOINT_RESTORE, "CHECKPOINT_RESTORE"},
                                           {CAP_SETUID, "SETUID"},
                                           {CAP_SETGID, "SETGID"},
                                           {CAP_NET_ADMIN, "NET_ADMIN"}}};
  std::string missing;
  for (const auto& wanted : kWanted) {
    if ((effective >> wanted.number & 1) == 0) missing += std::string(" ") + wanted.name;
  }
  if (!missing.empty()) return failure("missing:" + missing);
  return std::string("all that are needed");
}

Result<std::string> write_tracking() {
  Fd userfaultfd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (!userfaultfd) return system_error("userfaultfd");
  TRY(enable_write_tracking(userfaultfd.get()));
  return std::string("userfaultfd WP_ASYNC, PAGEMAP_SCAN");
}

Result<std::string> bpf() {
  if (access("/sys/kernel/btf/vmlinux", R_OK) != 0) return system_error("/sys/kernel/btf/vmlinux");
  TRY(posix::Collector::create());
  return std::string("BTF, programs load");
}

Result<std::string> namespaces() {
  const pid_t child = fork();
  if (child == 0) _exit(unshare(CLONE_NEWTIME | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS) == 0 ? 0 : errno);
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::unexpected(Error{"unshare", WEXITSTATUS(status)});
  return std::string("PID, time, IPC, mount");
}

Result<std::string> vdso() {
  TRY(find_vdso_syscall_offset());
  return std::string("has a syscall instruction");
}

Result<std::string> present(const char* path) {
  if (access(path, F_OK) != 0) return system_error(path);
  return std::string(path);
}

int doctor(bool as_json) {
  const std::array<Check, 8> checks{{
      {"kernel", true, "boot Linux 6.7 or newer", kernel_version},
      {"capabilities", true, "run as root, or grant these capabilities", capabilities},
      {"write tracking", true, "build the kernel with CONFIG_USERFAULTFD and PTE_MARKER_UFFD_WP", write_tracking},
      {"BPF", true, "build the kernel with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF; lockdown must not forbid it", bpf},
      {"namespaces", true, "build the kernel with PID, time, IPC and mount namespaces", namespaces},
      {"vDSO", true, "boot without vdso=0", vdso},
      {"checkpoint/restore sysctls", false, "build the kernel with CONFIG_CHECKPOINT_RESTORE: System V IPC ids cannot be kept otherwise",
       [] { return present("/proc/sys/kernel/msg_next_id"); }},
      {"idle latency", false, "/dev/cpu_dma_latency makes commits faster where it exists", [] { return present("/dev/cpu_dma_latency"); }},
  }};
  bool well = true;
  auto results = nlohmann::json::array();
  for (const Check& check : checks) {
    const auto found = check.probe();
    if (!found && check.required) well = false;
    const std::string remedy = found ? "" : found.error().error_number == EPERM ? "run as root" : check.remedy;
    const std::string verdict = found ? "ok" : check.required ? "MISSING" : "absent";
    results.push_back({{"name", check.name}, {"verdict", verdict}, {"found", found ? *found : found.error().message()}, {"remedy", remedy}});
    if (as_json) continue;
    fmt::print("{:<8} {:<28} {}\n", verdict, check.name, found ? *found : found.error().message() + ". To mend it: " + remedy);
  }
  if (as_json) fmt::print("{}", json_text(results));
  else fmt::print("{}\n", well ? "This machine can persist programs." : "This machine lacks what Perdure needs.");
  return well ? kDone : kFailed;
}

}  // namespace

void add_doctor(CLI::App& app, int& status) {
  auto as_json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("doctor", "what this machine offers and lacks, and how to mend it");
  command->add_flag("--json", *as_json, "machine-readable output");
  command->callback([as_json, &status] { status = doctor(*as_json); });
}

}  // namespace perdure::cli
