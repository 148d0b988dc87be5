// A fanotify group is refused by name, and goes on to tell of events.
// refused: fanotify
#include "check.h"
#include <sys/fanotify.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);
  if (fd < 0) SKIP("no fanotify here");
  MUST(mkdir(scratch_path("directory"), 0700));
  MUST(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD, AT_FDCWD, scratch_path("directory")));
  checkpoint_here();
  MUST(close(MUST(open(scratch_path("directory/file"), O_CREAT | O_WRONLY, 0600))));
  char buffer[4096] __attribute__((aligned(8)));
  CHECK(read(fd, buffer, sizeof buffer) >= (ssize_t)sizeof(struct fanotify_event_metadata), "no event");
  return 0;
}
