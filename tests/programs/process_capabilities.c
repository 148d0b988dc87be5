// Every capability set, the secure bits and no_new_privs come back, in each thread its own.
// covers: credentials
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>

#include "check.h"

static const char* const kFields[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"};
enum { kFieldCount = sizeof kFields / sizeof *kFields };
static volatile pid_t tid;
static volatile int done;

static void capset_thread(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {
      {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
      {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)}};
  MUST(syscall(SYS_capset, &header, data));
}

static void remember(char* values[kFieldCount]) {
  for (int i = 0; i < kFieldCount; i++) values[i] = status_field(gettid(), kFields[i]);
}

static void compare(char* before[kFieldCount], const char* whose) {
  char* after[kFieldCount];
  remember(after);
  for (int i = 0; i < kFieldCount; i++) CHECK(strcmp(before[i], after[i]) == 0, "%s %s was %s, is %s", whose, kFields[i], before[i], after[i]);
}

static void* thread(void* argument) {
  (void)argument;
  capset_thread(1ull << CAP_KILL, (1ull << CAP_KILL) | (1ull << CAP_CHOWN), 0);
  char* before[kFieldCount];
  remember(before);
  tid = gettid();
  while (!done) sleep_ms(2);
  compare(before, "the thread's");
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  char* bounding = status_field(getpid(), "CapEff");
  const uint64_t all = strtoull(bounding, NULL, 16);
  if (!(all & (1ull << CAP_SETPCAP))) SKIP("no CAP_SETPCAP");
  MUST(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP));
  MUST(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME));
  const uint64_t kept = all & ~(1ull << CAP_SYS_TIME) & ~(1ull << CAP_MKNOD);
  capset_thread(kept & ~(1ull << CAP_LEASE), kept, (1ull << CAP_CHOWN) | (1ull << CAP_KILL));
  MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
  pthread_t other = start_thread(thread, NULL);
  while (tid == 0) sleep_ms(1);
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  char* before[kFieldCount];
  remember(before);
  checkpoint_here();
  done = 1;
  compare(before, "the main thread's");
  CHECK_EQUAL(prctl(PR_GET_SECUREBITS), SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP);
  pthread_join(other, NULL);
  return 0;
}
