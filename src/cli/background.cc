// `--detach`: the supervisor in the background, and a command that returns when the first checkpoint is durable.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "linux/process.h"
#include "supervisor/control.h"
#include "supervisor/group_directory.h"

namespace perdure::cli {

namespace {

constexpr int64_t kRefusalPatienceNs = 10 * kNanosecondsPerSecond;
constexpr useconds_t kPollUs = 5000;

size_t size_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<size_t>(status.st_size) : 0;
}

/// What was written to the group's output since it was `start` bytes long, to stderr: it says why the run ended.
void show_output(const std::string& path, size_t start) {
  const auto text = read_file(path);
  if (text && text->size() > start) fmt::print(stderr, "{}", text->substr(start));
}

/// Asks the supervisor `pid` for a checkpoint and waits until it is durable. Error while it is not there yet, or refuses.
Result<void> first_checkpoint(const std::string& socket, pid_t pid) {
  const auto status = TRY(supervisor::call_supervisor(socket, {{"command", "status"}}));
  if (status.value("supervisor_pid", 0) != pid) return failure("it is still starting");
  TRY(supervisor::call_supervisor(socket, {{"command", "checkpoint"}}, supervisor::kCheckpointPatience));
  return {};
}

}  // namespace

int run_in_background(const supervisor::RunOptions& options, int (*run_here)(const supervisor::RunOptions&)) {
  const std::string directory = supervisor::group_directory(options.root, options.name);
  const std::string output = supervisor::output_path(directory);
  const size_t start = size_of(output);
  const pid_t child = fork();
  if (child < 0) return report(system_error("fork").error(), kPerdureFailed);
  if (child == 0) {
    setsid();
    std::exit(run_here(options));
  }
  int64_t deadline_ns = 0;  // set once the supervisor answers: how long it takes to start is the machine's affair
  for (;;) {
    int wait_status = 0;
    if (waitpid(child, &wait_status, WNOHANG) == child) {
      show_output(output, start);
      return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    }
    const auto taken = first_checkpoint(supervisor::control_socket_path(directory), child);
    if (taken) {
      fmt::print(stderr, "perdure: group '{}' runs in the background; its output goes to {}\n", options.name, output);
      return kDone;
    }
    const bool answers = supervisor::call_supervisor(supervisor::control_socket_path(directory), {{"command", "status"}}).has_value();
    if (answers && deadline_ns == 0) deadline_ns = monotonic_ns() + kRefusalPatienceNs;
    if (deadline_ns != 0 && monotonic_ns() > deadline_ns) {
      return report(Error{fmt::format("group '{}' runs in the background (supervisor {}), but is not persisted yet: {}", options.name, child,
                                      taken.error().message())},
                    kPerdureFailed);
    }
    usleep(kPollUs);
  }
}

}  // namespace perdure::cli
