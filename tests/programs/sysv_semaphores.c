// System V semaphores: ids, keys, values, the last pid; a process sleeps in semop; SEM_UNDO acts when its process exits.
// covers: sysv-sem
#include "check.h"
#include <sys/ipc.h>
#include <sys/sem.h>

static int add(int set, int number, int change, int flags) {
  struct sembuf operation = {number, change, flags};
  return (int)syscall(SYS_semop, set, &operation, 1);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int earlier = MUST(semget(IPC_PRIVATE, 1, 0600));
  const int set = MUST(semget(0x50455244, 4, IPC_CREAT | 0640));
  MUST(semctl(earlier, 0, IPC_RMID));
  const int anonymous = MUST(semget(IPC_PRIVATE, 1, 0600));
  for (int i = 0; i < 4; i++) MUST(semctl(set, i, SETVAL, 10 * i));
  MUST(semctl(anonymous, 0, SETVAL, 32767));
  const pid_t undoer = MUST(fork());
  if (undoer == 0) {
    MUST(add(set, 1, 5, SEM_UNDO));
    MUST(add(set, 2, -3, SEM_UNDO));
    mark("undone");
    wait_released(0);
    _exit(0);
  }
  const pid_t sleeper = MUST(fork());
  if (sleeper == 0) {
    CHECK_EQUAL(add(set, 0, -2, 0), 0);
    _exit(0);
  }
  wait_mark("undone");
  wait_asleep_in(sleeper, sleeper, SYS_semop);
  checkpoint_here();
  CHECK_EQUAL(MUST(semget(0x50455244, 4, 0)), set);
  struct semid_ds status;
  MUST(semctl(set, 0, IPC_STAT, &status));
  CHECK_EQUAL(status.sem_nsems, 4);
  CHECK_EQUAL(status.sem_perm.mode & 0777, 0640);
  expect_child_passes(undoer);
  CHECK_EQUAL(MUST(semctl(set, 1, GETVAL)), 10);
  CHECK_EQUAL(MUST(semctl(set, 2, GETVAL)), 20);
  CHECK_EQUAL(MUST(semctl(set, 3, GETVAL)), 30);
  CHECK_EQUAL(MUST(semctl(anonymous, 0, GETVAL)), 32767);
  CHECK_EQUAL(waitpid(sleeper, NULL, WNOHANG), 0);
  MUST(add(set, 0, 1, 0));
  sleep_ms(20);
  CHECK_EQUAL(waitpid(sleeper, NULL, WNOHANG), 0);
  MUST(add(set, 0, 1, 0));
  expect_child_passes(sleeper);
  CHECK_EQUAL(MUST(semctl(set, 0, GETVAL)), 0);
  MUST(semctl(set, 0, IPC_RMID));
  MUST(semctl(anonymous, 0, IPC_RMID));
  return 0;
}
