// A process that never leaves user mode is caught where it is and goes on from there: two counters that it moves together stay together.
// covers: memory-private
#include "check.h"

static volatile uint64_t first, second;

static void* count(void* argument) {
  const volatile bool* done = argument;
  while (!*done) {
    first = first + 1;
    CHECK(second == first - 1, "%llu and %llu", (unsigned long long)first, (unsigned long long)second);
    second = first;
  }
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  static volatile bool done;
  pthread_t thread = start_thread(count, (void*)&done);
  checkpoint_here_busy();
  const uint64_t now = first;
  CHECK(now > 0, "it did not count");
  for (int64_t deadline = monotonic_ms() + 15000; first <= now; sleep_ms(1)) CHECK(monotonic_ms() < deadline, "it does not count any more");
  done = true;
  pthread_join(thread, NULL);
  return 0;
}
