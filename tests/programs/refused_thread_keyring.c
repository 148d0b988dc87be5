// A thread with a key in a keyring of its own is refused.
// refused: keyring
#include "check.h"

#include <linux/keyctl.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const long key = syscall(SYS_add_key, "user", "perdure test", "secret", 6, KEY_SPEC_THREAD_KEYRING);
  if (key == -1) SKIP("no keyrings here");
  checkpoint_here();
  char secret[6];
  CHECK_EQUAL(syscall(SYS_keyctl, KEYCTL_READ, key, secret, sizeof secret), 6);
  return 0;
}
