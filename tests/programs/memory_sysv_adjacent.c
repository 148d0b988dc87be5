// Two attachments of one System V segment that touch stay two: each shows the whole segment, and is detached by itself.
// covers: sysv-shm
#include "check.h"

#include <sys/ipc.h>
#include <sys/shm.h>

enum { kSize = 1 << 16 };

static int attachments(int id) {
  struct shmid_ds status;
  MUST(shmctl(id, IPC_STAT, &status));
  return (int)status.shm_nattch;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int id = MUST(shmget(IPC_PRIVATE, kSize, IPC_CREAT | 0600));
  char* const room = mmap(NULL, 2 * kSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(room != MAP_FAILED, "mmap");
  char* const first = shmat(id, room, SHM_REMAP);
  char* const second = shmat(id, room + kSize, SHM_REMAP);
  CHECK(first == room && second == room + kSize, "shmat gave %p and %p", (void*)first, (void*)second);
  fill_pattern(first, kSize, 1);
  checkpoint_here();
  CHECK_EQUAL(attachments(id), 2);
  check_pattern("the first attachment", first, kSize, 1);
  check_pattern("the second attachment", second, kSize, 1);
  second[kSize - 1] = 77;
  CHECK_EQUAL(first[kSize - 1], 77);
  MUST(shmdt(first));
  CHECK_EQUAL(attachments(id), 1);
  CHECK_EQUAL(second[kSize - 1], 77);
  CHECK(shmdt(first) == -1, "the first attachment was not all of itself");
  MUST(shmdt(second));
  CHECK_EQUAL(attachments(id), 0);
  MUST(shmctl(id, IPC_RMID, NULL));
  return 0;
}
