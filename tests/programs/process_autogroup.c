// The nice value of a session (/proc/PID/autogroup) comes back, in each session its own.
// covers: scheduling
#include "check.h"

static int session_nice(void) {
  char* text = read_text("/proc/self/autogroup");
  int nice = -100;
  CHECK(text != NULL && sscanf(text, "/autogroup-%*d nice %d", &nice) == 1, "/proc/self/autogroup says %s", text == NULL ? "nothing" : text);
  free(text);
  return nice;
}

static void set_session_nice(const char* value) {
  const int fd = open("/proc/self/autogroup", O_WRONLY);
  if (fd < 0) SKIP("no scheduling by session here");
  CHECK_EQUAL(write(fd, value, strlen(value)), strlen(value));
  close(fd);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  setsid();
  char* text = read_text("/proc/self/autogroup");
  if (text == NULL || *text == 0) SKIP("no scheduling by session here");
  set_session_nice("7");
  const pid_t child = MUST(fork());
  if (child == 0) {
    MUST(setsid());
    set_session_nice("-3");
    mark("set");
    wait_released(0);
    CHECK_EQUAL(session_nice(), -3);
    _exit(0);
  }
  wait_mark("set");
  checkpoint_here();
  CHECK_EQUAL(session_nice(), 7);
  expect_child_passes(child);
  return 0;
}
