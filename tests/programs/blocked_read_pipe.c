// A thread blocked in read() of an empty pipe gets what is written after the checkpoint.
// covers: pipe
#include "check.h"

static int ends[2];
static volatile pid_t tid;

static void* reader(void* argument) {
  (void)argument;
  tid = gettid();
  char text[100] = "";
  const ssize_t got = read(ends[0], text, sizeof text);
  CHECK(got == 5 && memcmp(text, "hello", 5) == 0, "read returned %zd", got);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(pipe(ends));
  pthread_t thread = start_thread(reader, NULL);
  while (tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), tid, SYS_read);
  checkpoint_here();
  wait_asleep_in(getpid(), tid, SYS_read);
  CHECK_EQUAL(write(ends[1], "hello", 5), 5);
  pthread_join(thread, NULL);
  return 0;
}
