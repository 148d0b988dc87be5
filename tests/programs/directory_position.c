// A directory being read goes on behind the entry it had come to; a second open of it stands elsewhere.
// covers: directory
#include "check.h"
#include <dirent.h>

enum { kFiles = 500 };
static char seen[kFiles];

struct entry {
  ino64_t inode;
  off64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

/// One getdents64 of `size` bytes; marks what it names, returns how many files of ours it named.
static int read_entries(int fd, size_t size) {
  char buffer[1 << 16] __attribute__((aligned(8)));
  const long got = MUST(syscall(SYS_getdents64, fd, buffer, size));
  if (got == 0) return -1;
  int count = 0;
  for (long at = 0; at < got;) {
    const struct entry* entry = (const struct entry*)(buffer + at);
    int number;
    if (sscanf(entry->name, "entry-%d", &number) == 1) seen[number]++, count++;
    at += entry->length;
  }
  return count;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const char* path = scratch_path("directory");
  MUST(mkdir(path, 0700));
  for (int i = 0; i < kFiles; i++) {
    char name[48];
    snprintf(name, sizeof name, "directory/entry-%d", i);
    MUST(close(MUST(open(scratch_path(name), O_CREAT | O_WRONLY, 0600))));
  }
  const int half_read = MUST(open(path, O_RDONLY | O_DIRECTORY));
  const int unread = MUST(open(path, O_RDONLY | O_DIRECTORY));
  int before = 0;
  while (before < kFiles / 2) before += read_entries(half_read, 1000);
  const off_t position = MUST(lseek(half_read, 0, SEEK_CUR));
  checkpoint_here();
  CHECK_EQUAL(lseek(half_read, 0, SEEK_CUR), position);
  CHECK_EQUAL(lseek(unread, 0, SEEK_CUR), 0);
  while (read_entries(half_read, 1 << 16) >= 0) {
  }
  for (int i = 0; i < kFiles; i++) CHECK(seen[i] == 1, "entry %d was named %d times", i, seen[i]);
  struct stat status;
  MUST(fstatat(unread, "entry-7", &status, 0));
  return 0;
}
