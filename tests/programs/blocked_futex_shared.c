// A process that waits for a futex in shared memory is woken by its parent after the restore.
// covers: memory-shared
#include <linux/futex.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  uint32_t* word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(word != MAP_FAILED, "mmap");
  *word = 3;
  const pid_t child = MUST(fork());
  if (child == 0) {
    CHECK_EQUAL(syscall(SYS_futex, word, FUTEX_WAIT, 3, NULL), 0);
    _exit(*word == 7 ? 0 : 1);
  }
  wait_asleep_in(child, child, SYS_futex);
  checkpoint_here();
  wait_asleep_in(child, child, SYS_futex);
  __atomic_store_n(word, 7, __ATOMIC_SEQ_CST);
  CHECK_EQUAL(syscall(SYS_futex, word, FUTEX_WAKE, 1), 1);
  expect_child_passes(child);
  return 0;
}
