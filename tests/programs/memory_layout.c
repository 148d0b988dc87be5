// /proc/self/maps shows the same mappings after the restore as before: addresses, protections, offsets and files.
// covers: mappings
#include "check.h"

enum { kMappings = 200 };

struct mapping {
  unsigned long start, end, offset, inode;
  char protection[5];
  char name[300];
};

/// Whether two mappings differ from one only by where the kernel happened to split it: neighbours alike may be merged or not.
static bool continues(const struct mapping* first, const struct mapping* second) {
  return first->end == second->start && first->inode == second->inode && strcmp(first->protection, second->protection) == 0 &&
         strcmp(first->name, second->name) == 0 && (first->inode == 0 || first->offset + (first->end - first->start) == second->offset);
}

/// Reads maps without using the heap; leaves out the stack, which grows, and the vDSO's pages, which belong to the kernel.
static int read_layout(struct mapping* mappings) {
  static char text[1 << 16];
  const int fd = MUST(open("/proc/self/maps", O_RDONLY));
  size_t size = 0;
  for (ssize_t got; (got = read(fd, text + size, sizeof text - 1 - size)) > 0;) size += got;
  close(fd);
  text[size] = '\0';
  int count = 0;
  for (char* line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    struct mapping* mapping = &mappings[count];
    memset(mapping, 0, sizeof *mapping);
    CHECK(sscanf(line, "%lx-%lx %4s %lx %*s %lu %299[^\n]", &mapping->start, &mapping->end, mapping->protection, &mapping->offset, &mapping->inode,
                 mapping->name) >= 5, "cannot read '%s'", line);
    if (strstr(mapping->name, "[stack]") != NULL || strstr(mapping->name, "[v") != NULL) continue;
    if (count > 0 && continues(mapping - 1, mapping)) mapping[-1].end = mapping->end;
    else count++;
    CHECK(count < kMappings, "more mappings than expected");
  }
  return count;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(open(scratch_path("mapped file"), O_CREAT | O_RDWR, 0600));
  MUST(ftruncate(fd, 1 << 16));
  CHECK(mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 8192) != MAP_FAILED, "mmap");
  CHECK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096) != MAP_FAILED, "mmap");
  CHECK(mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED, "mmap");
  close(fd);
  static struct mapping before[kMappings], after[kMappings];
  const int count = read_layout(before);
  checkpoint_here();
  const int count_after = read_layout(after);
  for (int i = 0; i < count && i < count_after; i++) {
    const struct mapping *was = &before[i], *is = &after[i];
    CHECK(was->start == is->start && was->end == is->end && strcmp(was->protection, is->protection) == 0 && was->offset == is->offset &&
              strcmp(was->name, is->name) == 0,
          "%lx-%lx %s %lx %s is now %lx-%lx %s %lx %s", was->start, was->end, was->protection, was->offset, was->name, is->start, is->end,
          is->protection, is->offset, is->name);
  }
  CHECK_EQUAL(count_after, count);
  return 0;
}
