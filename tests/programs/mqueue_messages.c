// A POSIX message queue keeps its messages, their priorities, its attributes; a reader and a writer sleep on two others.
// covers: mqueue
#include "check.h"
#include <mqueue.h>

static mqd_t empty, full;

static void* reader(void* argument) {
  (void)argument;
  char text[64] = "";
  CHECK_EQUAL(mq_receive(empty, text, sizeof text, NULL), 4);
  CHECK(!strcmp(text, "wake"), "received %s", text);
  return NULL;
}

static void* writer(void* argument) {
  (void)argument;
  CHECK_EQUAL(mq_send(full, "second", 6, 3), 0);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  struct mq_attr attributes = {.mq_maxmsg = 8, .mq_msgsize = 64}, one = {.mq_maxmsg = 1, .mq_msgsize = 64};
  const mqd_t queue = MUST(mq_open("/perdure-test", O_RDWR | O_CREAT | O_NONBLOCK, 0640, &attributes));
  empty = MUST(mq_open("/perdure-test-empty", O_RDWR | O_CREAT, 0600, &attributes));
  full = MUST(mq_open("/perdure-test-full", O_RDWR | O_CREAT, 0600, &one));
  MUST(mq_unlink("/perdure-test-empty"));
  MUST(mq_unlink("/perdure-test-full"));
  MUST(mq_send(queue, "low", 3, 1));
  MUST(mq_send(queue, "high", 4, 30));
  MUST(mq_send(queue, "low too", 7, 1));
  MUST(mq_send(queue, "", 0, 7));
  MUST(mq_send(full, "first", 5, 0));
  pthread_t threads[2];
  CHECK_EQUAL(pthread_create(&threads[0], NULL, reader, NULL), 0);
  CHECK_EQUAL(pthread_create(&threads[1], NULL, writer, NULL), 0);
  checkpoint_here();
  struct mq_attr found;
  MUST(mq_getattr(queue, &found));
  CHECK_EQUAL(found.mq_maxmsg, 8);
  CHECK_EQUAL(found.mq_msgsize, 64);
  CHECK_EQUAL(found.mq_curmsgs, 4);
  CHECK_EQUAL(found.mq_flags, O_NONBLOCK);
  const struct {
    const char* text;
    unsigned priority;
  } expected[] = {{"high", 30}, {"", 7}, {"low", 1}, {"low too", 1}};
  for (int i = 0; i < 4; i++) {
    char text[64] = "";
    unsigned priority;
    CHECK_EQUAL(mq_receive(queue, text, sizeof text, &priority), strlen(expected[i].text));
    CHECK(!strcmp(text, expected[i].text), "message %d is %s", i, text);
    CHECK_EQUAL(priority, expected[i].priority);
  }
  const mqd_t again = MUST(mq_open("/perdure-test", O_RDONLY | O_NONBLOCK));
  char text[64] = "";
  CHECK(mq_receive(again, text, sizeof text, NULL) == -1 && errno == EAGAIN, "one message more");
  MUST(mq_send(queue, "named", 5, 0));
  CHECK_EQUAL(mq_receive(again, text, sizeof text, NULL), 5);
  MUST(mq_unlink("/perdure-test"));
  MUST(mq_send(empty, "wake", 4, 0));
  CHECK_EQUAL(mq_receive(full, text, sizeof text, NULL), 5);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  memset(text, 0, sizeof text);
  unsigned priority;
  CHECK_EQUAL(mq_receive(full, text, sizeof text, &priority), 6);
  CHECK_EQUAL(priority, 3);
  return 0;
}
