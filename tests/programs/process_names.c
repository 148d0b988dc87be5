// The names that processes and threads gave themselves come back, odd characters included.
// covers: names
#include <sys/prctl.h>

#include "check.h"

static volatile pid_t tid;
static volatile int done;

static void expect_name(const char* expected) {
  char name[32] = "";
  prctl(PR_GET_NAME, name);
  CHECK(strcmp(name, expected) == 0, "the name is '%s', not '%s'", name, expected);
}

static void* thread(void* argument) {
  (void)argument;
  prctl(PR_SET_NAME, "worker (1) \\n");
  tid = gettid();
  while (!done) sleep_ms(2);
  expect_name("worker (1) \\n");
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  prctl(PR_SET_NAME, "fifteen letters");
  pthread_t other = start_thread(thread, NULL);
  while (tid == 0) sleep_ms(1);
  checkpoint_here();
  done = 1;
  expect_name("fifteen letters");
  pthread_join(other, NULL);
  return 0;
}
