// A System V segment that was removed (IPC_RMID) while attached: it stays until the last process detaches, then goes.
// covers: sysv-shm
#include "check.h"
#include <sys/ipc.h>
#include <sys/shm.h>

enum { kSize = 100000 };

int main(int argc, char** argv) {
  begin(argc, argv);
  const int segment = MUST(shmget(0x50455245, kSize, IPC_CREAT | 0600));
  char* memory = shmat(segment, NULL, 0);
  CHECK(memory != (void*)-1, "shmat");
  fill_pattern(memory, kSize, 1);
  MUST(shmctl(segment, IPC_RMID, NULL));
  checkpoint_here();
  check_pattern("segment", memory, kSize, 1);
  struct shmid_ds status;
  MUST(shmctl(segment, IPC_STAT, &status));
  CHECK_EQUAL(status.shm_nattch, 1);
  CHECK(status.shm_perm.mode & SHM_DEST, "the segment is no longer marked as removed");
  CHECK(shmget(0x50455245, kSize, 0) == -1 && errno == ENOENT, "the removed segment's key is back");
  MUST(shmdt(memory));
  CHECK(shmctl(segment, IPC_STAT, &status) == -1, "the segment outlives its last attachment");
  return 0;
}
