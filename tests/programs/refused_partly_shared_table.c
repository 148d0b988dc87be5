// A descriptor table that two threads share, and the third thread of their process does not, is refused.
// refused: shares a descriptor table
#include "check.h"
#include <sched.h>

static void* wait_for_release(void* argument) {
  (void)argument;
  mark("both");
  wait_released(0);
  return NULL;
}

static void* leave_table(void* argument) {
  (void)argument;
  MUST(unshare(CLONE_FILES));
  pthread_join(start_thread(wait_for_release, NULL), NULL);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const pthread_t thread = start_thread(leave_table, NULL);
  wait_mark("both");
  checkpoint_here();
  pthread_join(thread, NULL);
  return 0;
}
