// The perdure command: words in, one room's call, words out.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <optional>

#include "cli/commands.h"

namespace {

std::optional<std::string> unknown_option(const CLI::App& command, int argc, char** argv) {
  for (int i = 2; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    const std::string word(argv[i]);
    if (word.starts_with("-") && command.get_option_no_throw(word.substr(0, word.find('='))) == nullptr) return word;
  }
  return {};
}

/// One line: what is wrong with the command line, and where help is.
int report_usage(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  const auto chosen = app.get_subcommands();
  const std::string command = chosen.empty() ? "perdure" : "perdure " + chosen.front()->get_name();
  std::string what = error.what();
  if (chosen.empty() && argc > 1) what = fmt::format("there is no command '{}'", argv[1]);
  if (!chosen.empty()) {
    if (const auto option = unknown_option(*chosen.front(), argc, argv)) what = fmt::format("{} has no option '{}'", command, *option);
  }
  fmt::print(stderr, "perdure: {}; see: {} --help\n", what, command);
  return perdure::cli::kUsageError;
}

/// Standard streams that the caller has closed would become files of our own, and these the program's standard streams.
void fill_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // The lowest free number is the one that is given.
    if (fcntl(stream, F_GETFD) < 0) (void)::open("/dev/null", O_RDWR);
  }
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_streams();
  CLI::App app{"Perdure makes unmodified programs persistent."};
  app.require_subcommand(1);
  app.set_version_flag("--version", "perdure " PERDURE_VERSION);
  int status = 0;
  perdure::cli::add_run(app, status);
  perdure::cli::add_attach(app, status);
  perdure::cli::add_group_commands(app, status);
  perdure::cli::add_store_commands(app, status);
  perdure::cli::add_doctor(app, status);
  perdure::cli::add_exec(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return error.get_exit_code() == 0 ? app.exit(error) : report_usage(app, error, argc, argv);
  }
  return status;
}
