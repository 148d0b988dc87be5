// Threads that compute with floating-point numbers all the time come to the same result, bit for bit, as the same computation before.
#include <math.h>

#include "check.h"

enum { kThreads = 4 };
static volatile bool done;

static double compute(double start) {
  double sum = 0;
  for (int i = 1; i < 2000; i++) sum += sin(start * i) * sqrt(i) + 1.0 / (start + i);
  return sum;
}

static void* repeat(void* argument) {
  const double start = 0.1 * (1 + (intptr_t)argument);
  const double expected = compute(start);
  uint64_t rounds = 0;
  do {
    const double now = compute(start);
    CHECK(memcmp(&now, &expected, sizeof now) == 0, "round %llu: %.17g, not %.17g", (unsigned long long)rounds, now, expected);
    rounds++;
  } while (!done);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) threads[i] = start_thread(repeat, (void*)i);
  checkpoint_here();
  sleep_ms(100);
  done = true;
  for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
  return 0;
}
