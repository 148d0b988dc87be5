// A thread that is half way in a message of sendmmsg() over a stream is refused, and sends the rest afterwards.
// refused: half way in a message
#include "check.h"
#include <sys/socket.h>

enum { kBytes = 4 << 20 };

static int ends[2];
static volatile pid_t sender_tid;

static void* send_message(void* argument) {
  struct iovec bytes = {argument, kBytes};
  struct mmsghdr message = {.msg_hdr = {.msg_iov = &bytes, .msg_iovlen = 1}};
  sender_tid = gettid();
  CHECK_EQUAL(sendmmsg(ends[0], &message, 1, 0), 1);
  // Over a stream it may have been cut short: what is left is the program's to send.
  for (size_t at = message.msg_len; at < kBytes;) at += MUST(send(ends[0], (char*)argument + at, kBytes - at, 0));
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  char* sent = malloc(kBytes);
  char* received = malloc(kBytes);
  fill_pattern(sent, kBytes, 1);
  const pthread_t thread = start_thread(send_message, sent);
  while (sender_tid == 0) sleep_ms(1);
  wait_asleep_in(getpid(), sender_tid, SYS_sendmmsg);
  checkpoint_here();
  for (size_t got = 0; got < kBytes;) got += MUST(read(ends[1], received + got, kBytes - got));
  check_pattern("what was sent", received, kBytes, 1);
  pthread_join(thread, NULL);
  return 0;
}
