// Every resource limit comes back, soft and hard.
// covers: rlimits
#include <sys/resource.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  struct rlimit before[RLIM_NLIMITS], after;
  for (int i = 0; i < RLIM_NLIMITS; i++) {
    MUST(getrlimit(i, &before[i]));
    if (before[i].rlim_max == RLIM_INFINITY) before[i].rlim_max = 1ull << (40 + i % 3);
    if (before[i].rlim_cur > before[i].rlim_max || before[i].rlim_cur == RLIM_INFINITY) before[i].rlim_cur = before[i].rlim_max / 2 + i;
    MUST(setrlimit(i, &before[i]));
  }
  checkpoint_here();
  for (int i = 0; i < RLIM_NLIMITS; i++) {
    MUST(getrlimit(i, &after));
    CHECK(after.rlim_cur == before[i].rlim_cur && after.rlim_max == before[i].rlim_max, "limit %d was %llu, %llu; is %llu, %llu", i,
          (unsigned long long)before[i].rlim_cur, (unsigned long long)before[i].rlim_max, (unsigned long long)after.rlim_cur,
          (unsigned long long)after.rlim_max);
  }
  return 0;
}
