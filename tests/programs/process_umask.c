// The file creation mask comes back.
// covers: umask
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  umask(0137);
  checkpoint_here();
  CHECK_EQUAL(umask(0), 0137);
  return 0;
}
