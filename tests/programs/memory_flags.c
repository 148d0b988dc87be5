// What madvise() and mlock() set on a mapping is shown by /proc/self/smaps after the restore as before.
// covers: mappings
#include "check.h"

enum { kSize = 1 << 16 };

static char* flags_of(const void* address) {
  char line_start[40];
  snprintf(line_start, sizeof line_start, "%lx-", (unsigned long)address);
  char* text = read_text("/proc/self/smaps");
  CHECK(text != NULL, "smaps");
  char* mapping = strstr(text, line_start);
  CHECK(mapping != NULL, "no mapping at %p", address);
  char* flags = strstr(mapping, "VmFlags:");
  flags += strlen("VmFlags:");
  char kept[200] = "";
  // "sd" (soft-dirty), "um", "uw" and "ui" (userfaultfd) are the tracker's, not the program's.
  char* line = strndup(flags, strcspn(flags, "\n"));
  for (char* flag = strtok(line, " "); flag != NULL; flag = strtok(NULL, " ")) {
    if (strcmp(flag, "sd") == 0 || strcmp(flag, "um") == 0 || strcmp(flag, "uw") == 0 || strcmp(flag, "ui") == 0) continue;
    strcat(kept, flag);
    strcat(kept, " ");
  }
  free(line);
  free(text);
  return strdup(kept);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  static const int kAdvice[] = {MADV_DONTFORK, MADV_DONTDUMP, MADV_SEQUENTIAL, MADV_RANDOM, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_MERGEABLE, MADV_WIPEONFORK};
  enum { kCount = sizeof kAdvice / sizeof *kAdvice + 2 };
  char *mappings[kCount], *before[kCount];
  for (int i = 0; i < kCount; i++) {
    // A page that cannot be accessed on either side keeps the mappings apart.
    char* around = mmap(NULL, kSize + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mappings[i] = mmap(around + 4096, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(mappings[i] != MAP_FAILED, "mmap");
    if (i < kCount - 2) madvise(mappings[i], kSize, kAdvice[i]);
  }
  mlock(mappings[kCount - 2], kSize);
  syscall(SYS_mlock2, mappings[kCount - 1], kSize, 1);
  for (int i = 0; i < kCount; i++) {
    mappings[i][0] = 1;
    before[i] = flags_of(mappings[i]);
  }
  checkpoint_here();
  for (int i = 0; i < kCount; i++) {
    char* after = flags_of(mappings[i]);
    CHECK(strcmp(before[i], after) == 0, "mapping %d: flags %s, not %s", i, after, before[i]);
  }
  return 0;
}
