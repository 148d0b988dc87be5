// System V shared memory keeps id, key, mode, contents and attachments, and can be attached again.
// covers: sysv-shm
#include <sys/ipc.h>
#include <sys/shm.h>

#include "check.h"

enum { kSize = 1 << 18 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const key_t key = 0x50450000 + getpid() % 0xffff;
  const int unused = MUST(shmget(IPC_PRIVATE, 4096, 0600));
  const int id = MUST(shmget(key, kSize, IPC_CREAT | IPC_EXCL | 0640));
  MUST(shmctl(unused, IPC_RMID, NULL));
  char* memory = shmat(id, NULL, 0);
  CHECK(memory != (void*)-1, "shmat");
  fill_pattern(memory, kSize, 1);
  const pid_t child = MUST(fork());
  if (child == 0) {
    wait_released(0);
    while (memory[1] != 55) sleep_ms(2);
    memory[2] = 56;
    _exit(0);
  }
  checkpoint_here();
  check_pattern("contents", memory, kSize, 1);
  memory[1] = 55;
  expect_child_passes(child);
  CHECK_EQUAL(memory[2], 56);
  CHECK_EQUAL(shmget(key, 0, 0), id);
  struct shmid_ds status;
  MUST(shmctl(id, IPC_STAT, &status));
  CHECK_EQUAL(status.shm_perm.mode & 0777, 0640);
  CHECK_EQUAL(status.shm_segsz, kSize);
  CHECK_EQUAL(status.shm_nattch, 1);
  char* second = shmat(id, NULL, SHM_RDONLY);
  CHECK(second != (void*)-1 && second[2] == 56, "a second attachment");
  MUST(shmdt(second));
  MUST(shmdt(memory));
  MUST(shmctl(id, IPC_RMID, NULL));
  return 0;
}
