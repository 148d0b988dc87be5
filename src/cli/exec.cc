// `perdure exec`: a command inside a group's namespaces, beside the group.
#include <fmt/format.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>

#include "cli/commands.h"
#include "linux/process.h"
#include "supervisor/control.h"
#include "supervisor/group_directory.h"

namespace perdure::cli {

namespace {

constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;

struct ExecArguments {
  std::string name;
  std::string root;
  std::vector<std::string> command;
};

Result<int> execute(const ExecArguments& arguments) {
  TRY(supervisor::check_name(arguments.name));
  const std::string directory = supervisor::group_directory(supervisor::store_root(arguments.root), arguments.name);
  const auto status = supervisor::call_supervisor(supervisor::control_socket_path(directory), {{"command", "status"}});
  if (!status) return failure(fmt::format("group '{}' is not running under {}", arguments.name, supervisor::store_root(arguments.root)));
  if ((*status)["init_pid"] == 0) return failure(fmt::format("group '{}' was attached to: it has no namespaces to enter", arguments.name));
  const Fd init = TRY(open_pidfd((*status)["init_pid"].get<pid_t>()));
  const Fd here(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (setns(init.get(), CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWTIME) != 0) return system_error("enter the group's namespaces");
  if (fchdir(here.get()) != 0) return system_error("stay in the working directory");
  std::vector<char*> words;
  for (const auto& word : arguments.command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) return system_error("fork");
  if (child == 0) {
    execvp(words[0], words.data());
    const int error = errno;
    fmt::print(stderr, "perdure: cannot run '{}': {}\n", words[0], std::strerror(error));
    _exit(error == ENOENT ? kNotFound : kCannotRun);
  }
  // Keys of the terminal reach the command by themselves.
  signal(SIGINT, SIG_IGN);
  signal(SIGQUIT, SIG_IGN);
  int wait_status = 0;
  while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

}  // namespace

void add_exec(CLI::App& app, int& status) {
  auto arguments = std::make_shared<ExecArguments>();
  CLI::App* command = app.add_subcommand("exec", "run a command inside a group's namespaces; it is not part of what is persisted");
  command->add_option("--store", arguments->root, "store root (default: $PERDURE_STORE, else /var/lib/perdure)");
  command->add_option("name", arguments->name, "name of the group")->required();
  command->add_option("command", arguments->command, "the command and its arguments")->required();
  command->positionals_at_end();
  command->callback([arguments, &status] {
    // The parser keeps a "--" that stands behind a positional.
    if (arguments->command.front() == "--") arguments->command.erase(arguments->command.begin());
    if (arguments->command.empty()) {
      status = report(Error{"exec: no command was given"}, kUsageError);
      return;
    }
    const auto done = execute(*arguments);
    status = done ? *done : report(done.error(), kPerdureFailed);
  });
}

}  // namespace perdure::cli
