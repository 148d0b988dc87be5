// `perdure exec`: a command inside a group's namespaces, beside the group.
#include <fmt/format.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
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

/// What a program that runs another passes on to it.
constexpr std::array<int, 6> kForwardedSignals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

/// Enters the namespaces of the group whose init is `init_pid`: the next child is in all of them.
Result<void> enter_group(pid_t init_pid) {
  const Fd init = TRY(open_pidfd(init_pid));
  const Fd here(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (setns(init.get(), CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWTIME) != 0) return system_error("enter the group's namespaces");
  if (fchdir(here.get()) != 0) return system_error("stay in the working directory");
  return {};
}

[[noreturn]] void become(const std::vector<std::string>& command) {
  std::vector<char*> words;
  for (const auto& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execvp(words[0], words.data());
  const int error = errno;
  report(Error{fmt::format("cannot run '{}'", supervisor::abbreviated(command.front())), error});
  _exit(error == ENOENT ? kNotFound : kCannotRun);
}

/// Waits for the child's end, and passes the signals in `blocked` on to it meanwhile. Returns its wait(2) status.
int await_child(pid_t child, const sigset_t& blocked) {
  for (;;) {
    siginfo_t information{};
    const int number = sigwaitinfo(&blocked, &information);
    // The terminal sends its own to the command as well.
    if (number > 0 && number != SIGCHLD && information.si_code != SI_KERNEL) ::kill(child, number);
    int wait_status = 0;
    if (waitpid(child, &wait_status, WNOHANG) == child) return wait_status;
  }
}

Result<int> execute(const ExecArguments& arguments) {
  const auto status = TRY(ask_group(arguments.root, arguments.name, {{"command", "status"}}));
  if (status["init_pid"] == 0) return failure(fmt::format("group '{}' was attached to: it has no namespaces to enter", arguments.name));
  TRY(enter_group(status["init_pid"].get<pid_t>()));
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGCHLD);
  for (const int signal : kForwardedSignals) sigaddset(&blocked, signal);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  // One that is ignored, as the parent may have left it, takes the child's status away.
  signal(SIGCHLD, SIG_DFL);
  const pid_t child = fork();
  if (child < 0) return system_error("fork");
  if (child == 0) {
    sigprocmask(SIG_SETMASK, &before, nullptr);
    become(arguments.command);
  }
  const int wait_status = await_child(child, blocked);
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

/// What is wrong with the words behind the group's name; empty: nothing. The parser keeps a "--" among them, and options that came too late.
std::string judge_command(const std::vector<std::string>& words) {
  if (words == std::vector<std::string>{"--"}) return "no command was given";
  if (words.front() != "--" && words.front().starts_with("-")) {
    return fmt::format("'{}' is in the place of the command: options come before the name of the group", supervisor::abbreviated(words.front()));
  }
  return {};
}

int run_beside(ExecArguments& arguments) {
  if (const std::string wrong = judge_command(arguments.command); !wrong.empty()) {
    return report(Error{fmt::format("exec: {}; see: perdure exec --help", wrong)}, kUsageError);
  }
  if (arguments.command.front() == "--") arguments.command.erase(arguments.command.begin());
  const auto done = execute(arguments);
  return done ? *done : report(done.error(), kPerdureFailed);
}

}  // namespace

void add_exec(CLI::App& app, int& status) {
  auto arguments = std::make_shared<ExecArguments>();
  CLI::App* command = app.add_subcommand("exec", "run a command inside a group's namespaces; it is not part of what is persisted");
  command->add_option("--store", arguments->root, "store root (default: $PERDURE_STORE, else /var/lib/perdure)");
  command->add_option("name", arguments->name, "name of the group")->required();
  command->add_option("command", arguments->command, "the command and its arguments")->required();
  command->positionals_at_end();
  command->callback([arguments, &status] { status = run_beside(*arguments); });
}

}  // namespace perdure::cli
