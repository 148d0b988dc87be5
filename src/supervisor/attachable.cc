#include "supervisor/attachable.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "linux/process.h"
#include "linux/process_tree.h"

namespace perdure::supervisor {

namespace {

/// The process that a thread belongs to: the line Tgid of its status. 0 when there is neither.
pid_t process_of(pid_t pid) {
  std::istringstream words(read_file(fmt::format("/proc/{}/status", pid)).value_or(""));
  for (std::string word; words >> word;) {
    pid_t process = 0;
    if (word == "Tgid:" && words >> process) return process;
  }
  return 0;
}

bool is_kernel_thread(pid_t pid) {
  constexpr unsigned long kKernelThread = 0x00200000;  // PF_KTHREAD of linux/sched.h
  constexpr int kFieldsBeforeFlags = 6;                // from the state on, behind the name
  const auto text = read_file(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = text ? text->rfind(')') : std::string::npos;
  if (name_end == std::string::npos) return false;
  std::istringstream fields(text->substr(name_end + 1));
  std::string skipped;
  for (int field = 0; field < kFieldsBeforeFlags; ++field) fields >> skipped;
  unsigned long flags = 0;
  fields >> flags;
  return (flags & kKernelThread) != 0;
}

/// The first thread of a process may be one while others live on.
bool is_zombie(pid_t pid) {
  if (process_state(pid) != 'Z') return false;
  std::error_code error;
  const std::filesystem::directory_iterator threads(fmt::format("/proc/{}/task", pid), error);
  return error || std::distance(begin(threads), end(threads)) <= 1;
}

bool is_ancestor_of_mine(pid_t pid) {
  for (pid_t mine = getpid(); mine > 0; mine = parent_of(mine)) {
    if (mine == pid) return true;
  }
  return false;
}

}  // namespace

Result<void> check_attachable(pid_t pid) {
  const pid_t process = process_of(pid);
  if (process == 0) return failure(fmt::format("there is no process {}", pid));
  if (process != pid) return failure(fmt::format("{0} is a thread of process {1}: attach to {1}", pid, process));
  if (is_kernel_thread(pid)) return failure(fmt::format("process {} is a kernel thread: it cannot be persisted", pid));
  if (is_zombie(pid)) return failure(fmt::format("process {} is a zombie: it has ended, and waits for its parent only", pid));
  if (is_ancestor_of_mine(pid)) {
    return failure(fmt::format("process {} is an ancestor of this command, which cannot persist itself: attach from outside of it", pid));
  }
  return {};
}

}  // namespace perdure::supervisor
