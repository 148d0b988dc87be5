// A write() of a megabyte to a pipe, half done at the checkpoint, neither starts again nor returns short: the reader gets every byte once.
// covers: pipe
#include "check.h"

enum { kSize = 1 << 20 };
static int ends[2];
static volatile pid_t tid;
static uint64_t sent[kSize / 8], received[kSize / 8];

static void* writer(void* argument) {
  (void)argument;
  tid = gettid();
  const ssize_t written = write(ends[1], sent, kSize);
  CHECK(written == kSize, "write returned %zd, not %d", written, kSize);
  close(ends[1]);
  return NULL;
}

static size_t receive(size_t from, size_t until) {
  while (from < until) {
    const ssize_t got = read(ends[0], (char*)received + from, until - from);
    CHECK(got >= 0, "read");
    if (got == 0) break;
    from += got;
  }
  return from;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(pipe(ends));
  fill_pattern(sent, kSize, 3);
  pthread_t thread = start_thread(writer, NULL);
  while (tid == 0) sleep_ms(1);
  size_t size = receive(0, 300000);
  wait_asleep_in(getpid(), tid, SYS_write);
  checkpoint_here();
  size = receive(size, kSize);
  CHECK_EQUAL(size, kSize);
  check_pattern("received", received, kSize, 3);
  char extra;
  CHECK_EQUAL(read(ends[0], &extra, 1), 0);
  pthread_join(thread, NULL);
  return 0;
}
