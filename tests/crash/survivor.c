/* Forks and execs without end, beside a thread that computes, and looks whether anything was tampered with: registers, signal mask, descriptors.
 * The count of children that found nothing goes into the file given; a fault into the file with ".fault" behind its name. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_PASSED = 7 };

static const char *report;

static void fault(const char *format, ...) {
  char path[4096];
  snprintf(path, sizeof path, "%s.fault", report);
  FILE *file = fopen(path, "a");
  va_list arguments;
  va_start(arguments, format);
  vfprintf(file, format, arguments);
  va_end(arguments);
  fputc('\n', file);
  fclose(file);
  _exit(1);
}

/* Sums in general and vector registers that no memory backs. */
static void compute(int rounds) {
  for (int round = 0; round < rounds; ++round) {
    uint64_t a = 1, b = 2, c = 3, d = 4;
    __m128i vector = _mm_set_epi64x(5, 6);
    const __m128i one = _mm_set1_epi64x(1);
    for (uint64_t i = 0; i < 20000; ++i) {
      __asm__ volatile("add $1, %0; add $1, %1; add $1, %2; add $1, %3; paddq %5, %4"
                       : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+x"(vector) : "x"(one) : "cc");
    }
    if (a != 20001 || b != 20002 || c != 20003 || d != 20004) fault("general registers: %lu %lu %lu %lu", a, b, c, d);
    if (_mm_cvtsi128_si64(vector) != 20006) fault("a vector register: %lld", (long long)_mm_cvtsi128_si64(vector));
  }
}

static void check_mask(void) {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  for (int signal = 1; signal < 65; ++signal) {
    if (sigismember(&mask, signal) == 1) fault("signal %d is blocked in process %d", signal, getpid());
  }
}

static int count_descriptors(void) {
  DIR *directory = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(directory) != NULL) ++count;
  closedir(directory);
  return count;
}

static void *computing(void *unused) {
  for (;;) {
    compute(20);
    check_mask();
  }
  return unused;
}

int main(int argc, char **argv) {
  report = argv[1];
  if (argc == 3) {
    compute(2);
    check_mask();
    if (count_descriptors() != atoi(argv[2])) fault("%d descriptors, not %s", count_descriptors(), argv[2]);
    return CHILD_PASSED;
  }
  char descriptors[16];
  snprintf(descriptors, sizeof descriptors, "%d", count_descriptors());
  pthread_t thread;
  pthread_create(&thread, NULL, computing, NULL);
  const int file = open(report, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  for (uint64_t count = 1;; ++count) {
    const pid_t child = fork();
    if (child < 0) fault("fork: %s", strerror(errno));
    if (child == 0) {
      compute(1);
      execl("/proc/self/exe", argv[0], report, descriptors, NULL);
      _exit(3);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child) fault("waitpid: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != CHILD_PASSED) fault("child %d ended with wait status %x", child, status);
    check_mask();
    if (pwrite(file, &count, sizeof count, 0) != sizeof count) fault("write: %s", strerror(errno));
  }
}
