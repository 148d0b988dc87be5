// System V shared memory: ids, keys, contents, attachments of two processes, a segment nobody is attached to.
// covers: sysv-shm
#include "check.h"
#include <sys/ipc.h>
#include <sys/shm.h>

enum { kSize = 300000 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const int earlier = MUST(shmget(IPC_PRIVATE, 4096, 0600));
  const int segment = MUST(shmget(0x50455244, kSize, IPC_CREAT | 0640));
  const int detached = MUST(shmget(IPC_PRIVATE, kSize, 0600));
  MUST(shmctl(earlier, IPC_RMID, NULL));
  char* memory = shmat(segment, NULL, 0);
  const char* read_only = shmat(segment, NULL, SHM_RDONLY);
  char* other = shmat(detached, NULL, 0);
  CHECK(memory != (void*)-1 && read_only != (void*)-1 && other != (void*)-1, "shmat");
  fill_pattern(memory, kSize, 1);
  fill_pattern(other, kSize, 2);
  MUST(shmdt(other));
  const pid_t child = MUST(fork());
  if (child == 0) {
    wait_released(0);
    while (*(volatile char*)memory != 'p') sleep_ms(1);
    memory[1] = 'c';
    _exit(0);
  }
  checkpoint_here();
  check_pattern("segment", memory, kSize, 1);
  check_pattern("read-only attachment", read_only, kSize, 1);
  CHECK_EQUAL(MUST(shmget(0x50455244, kSize, 0)), segment);
  struct shmid_ds status;
  MUST(shmctl(segment, IPC_STAT, &status));
  CHECK_EQUAL(status.shm_segsz, kSize);
  CHECK_EQUAL(status.shm_nattch, 4);
  CHECK_EQUAL(status.shm_perm.mode & 0777, 0640);
  memory[0] = 'p';
  expect_child_passes(child);
  CHECK_EQUAL(read_only[1], 'c');
  other = shmat(detached, NULL, 0);
  CHECK(other != (void*)-1, "shmat");
  check_pattern("segment nobody was attached to", other, kSize, 2);
  MUST(shmdt(memory));
  MUST(shmdt(read_only));
  MUST(shmctl(segment, IPC_RMID, NULL));
  MUST(shmctl(detached, IPC_RMID, NULL));
  return 0;
}
