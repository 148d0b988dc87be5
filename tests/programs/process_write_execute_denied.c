// A process that forbade itself writable and executable memory (PR_SET_MDWE) is restored nevertheless, and is still forbidden it.
// covers: prctl
#include <sys/prctl.h>

#include "check.h"

enum { kSetMdwe = 65, kGetMdwe = 66 };

int main(int argc, char** argv) {
  begin(argc, argv);
  // Also that children do not inherit it, on kernels that know it.
  if (prctl(kSetMdwe, 3, 0, 0, 0) == -1 && prctl(kSetMdwe, 1, 0, 0, 0) == -1) SKIP("no MDWE here");
  const int wanted = prctl(kGetMdwe, 0, 0, 0, 0);
  checkpoint_here();
  CHECK_EQUAL(prctl(kGetMdwe, 0, 0, 0, 0), wanted);
  CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED, "it is permitted now");
  return 0;
}
