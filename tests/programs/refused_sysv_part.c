// A System V segment of which only a part is attached is refused.
// refused: (?i)part
#include "check.h"

#include <sys/shm.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int id = MUST(shmget(IPC_PRIVATE, 4 * 4096, IPC_CREAT | 0600));
  char* memory = shmat(id, NULL, 0);
  CHECK(memory != (void*)-1, "shmat");
  MUST(shmctl(id, IPC_RMID, NULL));
  fill_pattern(memory, 4 * 4096, 1);
  MUST(munmap(memory + 2 * 4096, 2 * 4096));
  checkpoint_here();
  check_pattern("the part", memory, 2 * 4096, 1);
  return 0;
}
