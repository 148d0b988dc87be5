// The personality of a process comes back (here: what `setarch -R` and a few others set).
// covers: prctl
#include <sys/personality.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const unsigned long wanted = ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC | UNAME26;
  MUST(personality(wanted));
  checkpoint_here();
  CHECK_EQUAL(personality(0xffffffff), wanted);
  return 0;
}
