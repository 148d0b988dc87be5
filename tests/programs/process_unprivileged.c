// A process that gave up root for good is persisted as one without privilege, and comes back without any.
// covers: credentials
#include <grp.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  if (geteuid() != 0) SKIP("only root can give up root");
  const pid_t child = MUST(fork());
  if (child == 0) {
    MUST(setgroups(0, NULL));
    MUST(setresgid(65534, 65534, 65534));
    MUST(setresuid(65534, 65534, 65534));
    uint64_t* memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill_pattern(memory, 1 << 20, 9);
    mark("unprivileged");
    wait_released(0);
    check_pattern("memory", memory, 1 << 20, 9);
    CHECK(setuid(0) == -1 && errno == EPERM, "it became root again");
    char* capabilities = status_field(getpid(), "CapEff");
    CHECK(strtoull(capabilities, NULL, 16) == 0, "capabilities %s", capabilities);
    CHECK_EQUAL(getuid(), 65534);
    _exit(0);
  }
  wait_mark("unprivileged");
  checkpoint_here();
  expect_child_passes(child);
  return 0;
}
