// A checkpoint is refused while inotify events wait to be read, and leaves them queued, with names and cookies, in their order.
// refused: events wait to be read
#include "check.h"
#include <sys/inotify.h>
#include <sys/ioctl.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(mkdir(scratch_path("directory"), 0700));
  const int fd = MUST(inotify_init1(IN_NONBLOCK));
  const int watch = MUST(inotify_add_watch(fd, scratch_path("directory"), IN_CREATE | IN_MOVE));
  MUST(close(MUST(open(scratch_path("directory/first"), O_CREAT | O_RDWR, 0600))));
  MUST(rename(scratch_path("directory/first"), scratch_path("directory/the second")));
  int queued, queued_before;
  MUST(ioctl(fd, FIONREAD, &queued_before));
  checkpoint_here();
  MUST(ioctl(fd, FIONREAD, &queued));
  CHECK_EQUAL(queued, queued_before);
  char buffer[4096] __attribute__((aligned(8)));
  CHECK_EQUAL(read(fd, buffer, sizeof buffer), queued);
  const unsigned masks[] = {IN_CREATE, IN_MOVED_FROM, IN_MOVED_TO};
  const char* const names[] = {"first", "first", "the second"};
  unsigned cookie = 0;
  const char* at = buffer;
  for (int i = 0; i < 3; i++) {
    const struct inotify_event* event = (const struct inotify_event*)at;
    CHECK_EQUAL(event->wd, watch);
    CHECK_EQUAL(event->mask, masks[i]);
    CHECK(!strcmp(event->name, names[i]), "event %d names %s", i, event->name);
    CHECK((event->cookie != 0) == (i > 0), "event %d has cookie %u", i, event->cookie);
    if (i == 2) CHECK_EQUAL(event->cookie, cookie);
    cookie = event->cookie;
    at += sizeof *event + event->len;
  }
  CHECK_EQUAL(at - buffer, queued);
  return 0;
}
