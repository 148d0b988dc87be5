// A thread that declared itself part of writing memory back (PR_SET_IO_FLUSHER) is refused by name.
// refused: (?i)flusher
#include "check.h"

#include <sys/prctl.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == -1) SKIP("no PR_SET_IO_FLUSHER here");
  checkpoint_here();
  CHECK_EQUAL(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0), 1);
  return 0;
}
