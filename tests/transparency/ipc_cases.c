// System V and POSIX IPC, and file locks.
#include "trial.h"

#include <mqueue.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

static void with_semaphore(struct trial* trial) { trial->identifier = NEED(semget(IPC_PRIVATE, 1, 0600)); }
static void remove_semaphore(struct trial* trial) { semctl(trial->identifier, 0, IPC_RMID); }
static long in_semop(struct trial* trial) {
  struct sembuf operation = {0, -2, 0};
  return syscall(SYS_semop, trial->identifier, &operation, 1);
}
static long in_semtimedop(struct trial* trial) {
  struct sembuf operation = {0, -2, 0};
  struct timespec timeout;
  return syscall(SYS_semtimedop, trial->identifier, &operation, 1, relative_timeout(trial, &timeout));
}
static void count_up(struct trial* trial) {
  struct sembuf operation = {0, trial->arrival == arrives_half ? 1 : 2, 0};
  NEED(semop(trial->identifier, &operation, 1));
}

struct message {
  long type;
  char text[4096];
};
static void with_messages(struct trial* trial) { trial->identifier = NEED(msgget(IPC_PRIVATE, 0600)); }
static void remove_messages(struct trial* trial) { msgctl(trial->identifier, IPC_RMID, NULL); }
static long in_msgrcv(struct trial* trial) {
  struct message message;
  return msgrcv(trial->identifier, &message, sizeof message.text, 2, 0);
}
static void send_message(struct trial* trial) {
  struct message message = {trial->arrival == arrives_half ? 1 : 2, "text"};
  NEED(msgsnd(trial->identifier, &message, 5, 0));
}
static void with_full_messages(struct trial* trial) {
  with_messages(trial);
  struct message message = {1, ""};
  while (msgsnd(trial->identifier, &message, sizeof message.text, IPC_NOWAIT) == 0) continue;
}
static long in_msgsnd(struct trial* trial) {
  struct message message = {1, ""};
  return msgsnd(trial->identifier, &message, sizeof message.text, 0);
}
static void receive_message(struct trial* trial) {
  struct message message;
  NEED(msgrcv(trial->identifier, &message, sizeof message.text, 0, 0));
}

static void with_queue(struct trial* trial) {
  struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 64};
  char name[64];
  snprintf(name, sizeof name, "/perdure-transparency-%d", getpid());
  trial->near = NEED(mq_open(name, O_RDWR | O_CREAT, 0600, &attributes));
  mq_unlink(name);
}
static long in_mq_receive(struct trial* trial) {
  char text[64];
  struct timespec timeout;
  return syscall(SYS_mq_timedreceive, trial->near, text, sizeof text, NULL, absolute_timeout(trial, CLOCK_REALTIME, &timeout));
}
static void send_to_queue(struct trial* trial) { NEED(mq_send(trial->near, "text", 4, 0)); }
static void with_full_queue(struct trial* trial) {
  with_queue(trial);
  send_to_queue(trial);
}
static long in_mq_send(struct trial* trial) {
  struct timespec timeout;
  return syscall(SYS_mq_timedsend, trial->near, "more", 4, 0, absolute_timeout(trial, CLOCK_REALTIME, &timeout));
}
static void receive_from_queue(struct trial* trial) {
  char text[64];
  NEED(mq_receive(trial->near, text, sizeof text, NULL));
}

// Locks: the holder is another process, and unlocks when told to

static int lock_file(void) {
  char name[64];
  snprintf(name, sizeof name, "locked-%d", getpid());
  int fd = NEED(open(name, O_RDWR | O_CREAT, 0600));
  unlink(name);
  return fd;
}
static int reopen(int fd) {
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  return NEED(open(name, O_RDWR));
}
static int record_lock(int fd, int command, short type) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = 5, .l_len = 10};
  return fcntl(fd, command, &lock);
}
static void hold_flock(struct trial* trial) {
  trial->far = reopen(trial->near);
  NEED(flock(trial->far, LOCK_EX));
}
static void release_flock(struct trial* trial, char byte) {
  (void)byte;
  NEED(flock(trial->far, LOCK_UN));
}
static void hold_record_lock(struct trial* trial) { NEED(record_lock(trial->near, F_SETLK, F_WRLCK)); }
static void release_record_lock(struct trial* trial, char byte) {
  (void)byte;
  NEED(record_lock(trial->near, F_SETLK, F_UNLCK));
}
static void with_flock(struct trial* trial) {
  trial->near = lock_file();
  start_holder(trial, hold_flock, release_flock);
}
static void with_record_lock(struct trial* trial) {
  trial->near = lock_file();
  start_holder(trial, hold_record_lock, release_record_lock);
}
static void release(struct trial* trial) { tell_holder(trial, 'r'); }
static long in_flock(struct trial* trial) { return flock(trial->near, LOCK_EX); }
static long in_posix_lock(struct trial* trial) { return record_lock(trial->near, F_SETLKW, F_WRLCK); }
static long in_ofd_lock(struct trial* trial) { return record_lock(trial->near, F_OFD_SETLKW, F_WRLCK); }

const struct blocking_case ipc_cases[] = {
    {"semop", has_half, with_semaphore, in_semop, count_up, remove_semaphore},
    {"semtimedop", has_timeout | has_half, with_semaphore, in_semtimedop, count_up, remove_semaphore},
    {"msgrcv", has_half, with_messages, in_msgrcv, send_message, remove_messages},
    {"msgsnd", 0, with_full_messages, in_msgsnd, receive_message, remove_messages},
    {"mq_timedreceive", has_timeout, with_queue, in_mq_receive, send_to_queue, NULL},
    {"mq_timedsend", has_timeout, with_full_queue, in_mq_send, receive_from_queue, NULL},
    {"flock", 0, with_flock, in_flock, release, NULL},
    {"fcntl F_SETLKW", 0, with_record_lock, in_posix_lock, release, NULL},
    {"fcntl F_OFD_SETLKW", 0, with_record_lock, in_ofd_lock, release, NULL},
};
const unsigned ipc_case_count = sizeof ipc_cases / sizeof *ipc_cases;
