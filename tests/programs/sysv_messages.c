// A System V message queue: id, key, types, contents, limits; a thread sleeps in msgrcv.
// covers: sysv-msg
#include "check.h"
#include <sys/ipc.h>
#include <sys/msg.h>

struct message {
  long type;
  char text[32];
};
static int queue;

static void* receiver(void* argument) {
  (void)argument;
  struct message message;
  CHECK_EQUAL(msgrcv(queue, &message, sizeof message.text, 99, 0), 4);
  CHECK(!memcmp(message.text, "wake", 4), "received %.4s", message.text);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int earlier = MUST(msgget(IPC_PRIVATE, 0600));
  queue = MUST(msgget(0x50455244, IPC_CREAT | 0640));
  MUST(msgctl(earlier, IPC_RMID, NULL));  // so that the id is not the first that would be given
  struct msqid_ds status;
  MUST(msgctl(queue, IPC_STAT, &status));
  status.msg_qbytes = 5000;
  MUST(msgctl(queue, IPC_SET, &status));
  for (long i = 0; i < 5; i++) {
    struct message message = {.type = 1 + i % 3};
    memset(message.text, (int)('a' + i), sizeof message.text);
    MUST(msgsnd(queue, &message, 4 + i, 0));
  }
  pthread_t thread;
  CHECK_EQUAL(pthread_create(&thread, NULL, receiver, NULL), 0);
  checkpoint_here();
  CHECK_EQUAL(MUST(msgget(0x50455244, 0)), queue);
  MUST(msgctl(queue, IPC_STAT, &status));
  CHECK_EQUAL(status.msg_qnum, 5);
  CHECK_EQUAL(status.msg_qbytes, 5000);
  CHECK_EQUAL(status.msg_perm.mode & 0777, 0640);
  struct message message;
  CHECK_EQUAL(msgrcv(queue, &message, sizeof message.text, 2, IPC_NOWAIT), 5);
  CHECK(!memcmp(message.text, "bbbbb", 5), "received %.5s", message.text);
  const int order[] = {0, 2, 3, 4};
  for (int i = 0; i < 4; i++) {
    CHECK_EQUAL(msgrcv(queue, &message, sizeof message.text, 0, IPC_NOWAIT), 4 + order[i]);
    CHECK_EQUAL(message.type, 1 + order[i] % 3);
    CHECK_EQUAL(message.text[3], 'a' + order[i]);
  }
  CHECK(msgrcv(queue, &message, sizeof message.text, 0, IPC_NOWAIT) == -1 && errno == ENOMSG, "one message more");
  message = (struct message){99, "wake"};
  MUST(msgsnd(queue, &message, 4, 0));
  pthread_join(thread, NULL);
  MUST(msgctl(queue, IPC_RMID, NULL));
  return 0;
}
