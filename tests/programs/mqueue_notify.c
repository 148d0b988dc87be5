// A registered mq_notify still sends its signal when a message arrives.
// covers: mqueue
#include "check.h"
#include <mqueue.h>

static volatile sig_atomic_t notified;
static void on_message(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  notified = info->si_value.sival_int;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const struct sigaction action = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO};
  MUST(sigaction(SIGRTMIN + 1, &action, NULL));
  struct mq_attr attributes = {.mq_maxmsg = 4, .mq_msgsize = 16};
  const mqd_t queue = MUST(mq_open("/perdure-test", O_RDWR | O_CREAT, 0600, &attributes));
  MUST(mq_unlink("/perdure-test"));
  const struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = 77};
  MUST(mq_notify(queue, &event));
  checkpoint_here();
  CHECK_EQUAL(notified, 0);
  CHECK(mq_notify(queue, &event) == -1 && errno == EBUSY, "nobody is registered");
  MUST(mq_send(queue, "x", 1, 0));
  for (int i = 0; i < 1000 && !notified; i++) sleep_ms(1);
  CHECK_EQUAL(notified, 77);
  return 0;
}
