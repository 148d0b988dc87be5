// The perdure command: words in, one room's call, words out.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdio>
#include <iostream>
#include <optional>

#include "cli/commands.h"

namespace {

std::optional<std::string> unknown_option(const CLI::App& command, int argc, char** argv) {
  for (int i = 2; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    const std::string word(argv[i]);
    const bool is_number = word.size() > 1 && std::isdigit(static_cast<unsigned char>(word[1])) != 0;
    if (word.starts_with("-") && !is_number && command.get_option_no_throw(word.substr(0, word.find('='))) == nullptr) return word;
  }
  return {};
}

/// What is wrong with the command line, and where help is.
int report_usage(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  const auto chosen = app.get_subcommands();
  const std::string command = chosen.empty() ? "perdure" : "perdure " + chosen.front()->get_name();
  std::string what = error.what();
  if (chosen.empty() && argc > 1) what = fmt::format("there is no command '{}'", argv[1]);
  if (!chosen.empty()) {
    if (const auto option = unknown_option(*chosen.front(), argc, argv)) what = fmt::format("{} has no option '{}'", command, *option);
  }
  return perdure::cli::report(perdure::Error{fmt::format("{}; see: {} --help", what, command)}, perdure::cli::kUsageError);
}

/// Standard streams that the caller has closed would become files of our own, and these the program's standard streams.
void fill_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // The lowest free number is the one that is given.
    if (fcntl(stream, F_GETFD) < 0) (void)::open("/dev/null", O_RDWR);
  }
}

int run_command(int argc, char** argv) {
  CLI::App app{"Perdure makes unmodified programs persistent.", "perdure"};
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

/// `status`, unless what was printed could not be written.
int finish_output(int status) {
  std::cout.flush();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  const auto error = perdure::system_error("write to the standard output").error();
  return perdure::cli::report(error, status == perdure::cli::kDone ? perdure::cli::kFailed : status);
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_streams();
  try {
    return finish_output(run_command(argc, argv));
  } catch (const std::exception& error) {
    return perdure::cli::report(perdure::Error{error.what()});
  }
}
