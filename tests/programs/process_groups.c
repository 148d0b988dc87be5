// Process groups and sessions come back: who is in which, who leads, and that a signal to a group reaches its members.
// covers: sessions
#include "check.h"

static volatile int handled;
static void on_signal(int number) { handled = number; }

static void member(const char* name, int leads_session, pid_t group) {
  if (leads_session) MUST(setsid());
  else MUST(setpgid(0, group));
  signal(SIGUSR1, on_signal);
  const pid_t session_before = getsid(0), group_before = getpgid(0);
  mark(name);
  wait_released(0);
  CHECK_EQUAL(getsid(0), session_before);
  CHECK_EQUAL(getpgid(0), group_before);
  while (!handled) sleep_ms(2);
  _exit(0);
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const pid_t own_session = getsid(0), own_group = getpgid(0);
  const pid_t leader = MUST(fork());
  if (leader == 0) member("leader", 0, 0);
  wait_mark("leader");
  const pid_t second = MUST(fork());
  if (second == 0) member("second", 0, leader);
  wait_mark("second");
  const pid_t session = MUST(fork());
  if (session == 0) member("session", 1, 0);
  wait_mark("session");
  checkpoint_here();
  CHECK_EQUAL(getsid(0), own_session);
  CHECK_EQUAL(getpgid(0), own_group);
  CHECK_EQUAL(getpgid(leader), leader);
  CHECK_EQUAL(getpgid(second), leader);
  CHECK_EQUAL(getsid(session), session);
  CHECK(setpgid(session, 0) == -1 && errno == EPERM, "the session leader may change its group");
  MUST(kill(-leader, SIGUSR1));
  expect_child_passes(leader);
  expect_child_passes(second);
  MUST(kill(-session, SIGUSR1));
  expect_child_passes(session);
  return 0;
}
