/* A ledger whose books must balance at any instant at which it may be resumed: threads move random amounts between accounts spread over
 * a few megabytes, under locks. A file outside tells the world which step was reached, and tells the program which round it is: one that
 * finds another round there than in its memory has been resumed, audits its books, and says so. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ACCOUNTS = 512, STRIDE = 4096 + 64, THREADS = 3, START = 1000, PAUSE_EVERY = 64 };

/* The file: what the world sees. It is never read back: a program resumed in the midst of that would write what was true in an earlier life. */
struct report {
  uint64_t step;     /* highest step reported */
  uint64_t round;    /* that of the last resume that was noticed */
  uint64_t resumed;  /* the step found in memory at the last one */
  uint64_t balanced; /* 1: the books balanced then */
};
enum { ROUND_OFFSET = sizeof(struct report) };

static char *books;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t step;
static struct report report;
static int file;

static int64_t *account(unsigned i) { return (int64_t *)(books + (size_t)i * STRIDE); }

static int balanced(void) {
  int64_t total = 0;
  for (unsigned i = 0; i < ACCOUNTS; ++i) total += *account(i);
  return total == (int64_t)ACCOUNTS * START;
}

/* With the lock held. */
static void tell(void) {
  uint64_t round = 0;
  if (pread(file, &round, sizeof round, ROUND_OFFSET) < 0) exit(2);
  if (round != report.round) {
    report.resumed = step;
    report.balanced = balanced();
    report.round = round;
  }
  report.step = step;
  if (pwrite(file, &report, sizeof report, 0) != sizeof report) exit(2);
}

static void *trade(void *seed) {
  unsigned random = (unsigned)(uintptr_t)seed;
  for (;;) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < PAUSE_EVERY; ++i) {
      const unsigned from = (unsigned)rand_r(&random) % ACCOUNTS, to = (unsigned)rand_r(&random) % ACCOUNTS;
      const int64_t amount = rand_r(&random) % 100;
      *account(from) -= amount;
      *account(to) += amount;
    }
    ++step;
    tell();
    pthread_mutex_unlock(&lock);
    usleep(200);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 2 || (file = open(argv[1], O_RDWR | O_CREAT, 0600)) < 0) return 2;
  books = mmap(NULL, (size_t)ACCOUNTS * STRIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (books == MAP_FAILED) return 2;
  for (unsigned i = 0; i < ACCOUNTS; ++i) *account(i) = START;
  pthread_t threads[THREADS];
  for (uintptr_t i = 0; i < THREADS; ++i) pthread_create(&threads[i], NULL, trade, (void *)(i + 1));
  pthread_join(threads[0], NULL);
  return 0;
}
