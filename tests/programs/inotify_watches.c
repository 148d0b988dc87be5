// Inotify watches keep their numbers and masks (removed ones leave a gap) and report what happens afterwards.
// covers: inotify
#include "check.h"
#include <sys/inotify.h>

/// Reads one event; its name is "" where there is none.
static struct inotify_event next_event(int fd, char* name) {
  static char buffer[4096] __attribute__((aligned(8)));
  static ssize_t length, at;
  if (at == length) at = 0, length = read(fd, buffer, sizeof buffer);
  CHECK(length > 0, "no event");
  struct inotify_event event;
  memcpy(&event, buffer + at, sizeof event);
  strcpy(name, event.len ? buffer + at + sizeof event : "");
  at += sizeof event + event.len;
  return event;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = MUST(inotify_init1(IN_NONBLOCK));
  MUST(mkdir(scratch_path("directory"), 0700));
  MUST(close(MUST(open(scratch_path("file"), O_CREAT | O_RDWR, 0600))));
  MUST(close(MUST(open(scratch_path("renamed"), O_CREAT | O_RDWR, 0600))));
  const int gone = MUST(inotify_add_watch(fd, scratch_directory, IN_DELETE));
  const int directory = MUST(inotify_add_watch(fd, scratch_path("directory"), IN_CREATE | IN_DELETE));
  const int file = MUST(inotify_add_watch(fd, scratch_path("file"), IN_MODIFY));
  const int renamed = MUST(inotify_add_watch(fd, scratch_path("renamed"), IN_ATTRIB));
  MUST(inotify_rm_watch(fd, gone));
  MUST(rename(scratch_path("renamed"), scratch_path("other")));
  char name[256];
  CHECK(next_event(fd, name).mask == IN_IGNORED, "rm_watch does not say IN_IGNORED");
  checkpoint_here();
  CHECK(read(fd, name, sizeof name) == -1 && errno == EAGAIN, "an event came out of nothing");
  MUST(mkdir(scratch_path("directory/new"), 0700));
  struct inotify_event event = next_event(fd, name);
  CHECK_EQUAL(event.wd, directory);
  CHECK_EQUAL(event.mask, IN_CREATE | IN_ISDIR);
  CHECK(!strcmp(name, "new"), "name %s", name);
  const int written = MUST(open(scratch_path("file"), O_WRONLY));
  CHECK_EQUAL(write(written, "x", 1), 1);
  event = next_event(fd, name);
  CHECK_EQUAL(event.wd, file);
  CHECK_EQUAL(event.mask, IN_MODIFY);
  MUST(chmod(scratch_path("other"), 0644));
  event = next_event(fd, name);
  CHECK_EQUAL(event.wd, renamed);
  CHECK_EQUAL(event.mask, IN_ATTRIB);
  CHECK_EQUAL(MUST(inotify_add_watch(fd, scratch_directory, IN_DELETE)), renamed + 1);
  return 0;
}
