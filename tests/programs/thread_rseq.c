// The restartable sequence area stays registered: the kernel keeps the CPU number in it up to date, and aborts an interrupted sequence.
// covers: rseq
#include <linux/rseq.h>
#include <sched.h>
#include <sys/rseq.h>

#include "check.h"

static volatile bool done;
static volatile pid_t tid;
static volatile bool in_sequence;

static struct rseq* area(void) { return (struct rseq*)((char*)__builtin_thread_pointer() + __rseq_offset); }

static void on_signal(int number) { (void)number; }

/// Runs in a critical section until something aborts it; the abort address then looks whether to end.
static void* spin(void* argument) {
  (void)argument;
  tid = gettid();
  struct rseq* const rseq = area();
  while (!done) {
    __asm__ volatile(
        ".pushsection __rseq_cs, \"aw\"\n"
        ".balign 32\n"
        "3: .long 0, 0\n"
        ".quad 1f, 2f - 1f, 4f\n"
        ".popsection\n"
        "lea 3b(%%rip), %%rax\n"
        "mov %%rax, %[sequence]\n"
        "1: movb $1, %[in_sequence]\n"
        "pause\n"
        "jmp 1b\n"
        "2:\n"
        ".pushsection __rseq_failure, \"ax\"\n"
        ".byte 0x0f, 0xb9, 0x3d\n"
        ".long 0x53053053\n"
        "4: jmp 5f\n"
        ".popsection\n"
        "5:\n"
        : [sequence] "=m"(rseq->rseq_cs), [in_sequence] "=m"(in_sequence)
        :
        : "rax", "memory", "cc");
  }
  return NULL;
}

static void check_cpu_number(void) {
  cpu_set_t own, one;
  MUST(sched_getaffinity(0, sizeof own, &own));
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &own)) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    MUST(sched_setaffinity(0, sizeof one, &one));
    CHECK_EQUAL(__atomic_load_n(&area()->cpu_id, __ATOMIC_RELAXED), cpu);
  }
  MUST(sched_setaffinity(0, sizeof own, &own));
}

int main(int argc, char** argv) {
  begin(argc, argv);
  if (__rseq_size == 0) SKIP("the C library registered no rseq area");
  signal(SIGUSR1, on_signal);
  check_cpu_number();
  pthread_t thread = start_thread(spin, NULL);
  while (!in_sequence) sleep_ms(1);
  checkpoint_here();
  in_sequence = false;
  while (!in_sequence) sleep_ms(1);
  done = true;
  pthread_kill(thread, SIGUSR1);
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += 10;
  CHECK_EQUAL(pthread_timedjoin_np(thread, NULL, &deadline), 0);
  check_cpu_number();
  return 0;
}
