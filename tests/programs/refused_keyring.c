// A process that joined a session keyring of its own is refused.
// refused: keyring
#include "check.h"

#include <linux/keyctl.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const long keyring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
  if (keyring == -1) SKIP("no keyrings here");
  checkpoint_here();
  CHECK_EQUAL(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0), keyring);
  return 0;
}
