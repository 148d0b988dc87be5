// A process that has called execve since it was forked comes back as the new program, with its arguments and environment, and its
// close-on-exec descriptors stay closed.
// covers: AddressSpace.arg_start, AddressSpace.env_start
#include "check.h"

extern char** environ;

int main(int argc, char** argv) {
  if (argc == 4) {
    snprintf(scratch_directory, sizeof scratch_directory, "%s", argv[1]);
    mark("executed");
    wait_released(0);
    CHECK(strcmp(argv[2], "second argument") == 0 && strcmp(argv[3], "") == 0, "argv: '%s', '%s'", argv[2], argv[3]);
    CHECK(getenv("COLOUR") != NULL && strcmp(getenv("COLOUR"), "green") == 0, "environment");
    char* line = read_text("/proc/self/cmdline");
    CHECK(line != NULL && strcmp(line + strlen(line) + 1, argv[1]) == 0, "cmdline: %s", line + strlen(line) + 1);
    char* variables = read_text("/proc/self/environ");
    CHECK(variables != NULL && strcmp(variables, "COLOUR=green") == 0, "environ: %s", variables);
    return 0;
  }
  begin(argc, argv);
  const pid_t child = MUST(fork());
  if (child == 0) {
    char* const arguments[] = {argv[0], argv[1], "second argument", "", NULL};
    char* const environment[] = {"COLOUR=green", NULL};
    MUST(execve("/proc/self/exe", arguments, environment));
  }
  wait_mark("executed");
  checkpoint_here();
  expect_child_passes(child);
  return 0;
}
