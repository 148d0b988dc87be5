// Transfers of several pieces, half done at the checkpoint (writev, sendmsg, recvmsg of all, sendfile with and without an offset, recvmmsg, sendmmsg),
// go on in the middle of the right piece: every byte goes over once, and the totals are whole.
// covers: pipe, unix-socket
#include "sleepers.h"
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { kLarge = 900000, kPiece = 250001, kMessages = 4, kDatagrams = 400 };
static char* pattern;
static char gathered[2][1000];
static off_t offset = 4096;
static int file, plain_file;

/// The pattern in pieces of uneven sizes, an empty one among them.
static struct iovec* pieces(struct iovec vectors[5]) {
  const size_t sizes[5] = {10, kPiece, 0, kPiece, kLarge - 10 - 2 * kPiece};
  char* at = pattern;
  for (int i = 0; i < 5; at += sizes[i++]) vectors[i] = (struct iovec){at, sizes[i]};
  return vectors;
}
static long in_writev(void* fds) {
  struct iovec vectors[5];
  return writev(((int*)fds)[1], pieces(vectors), 5);
}
static long in_sendmsg(void* fds) {
  struct iovec vectors[5];
  const struct msghdr message = {.msg_iov = pieces(vectors), .msg_iovlen = 5};
  return sendmsg(((int*)fds)[1], &message, 0);
}
static struct msghdr received_header;
static long in_recvmsg(void* fds) {
  struct iovec vectors[3] = {{gathered[0], 7}, {gathered[0] + 7, 93}, {gathered[0] + 100, 900}};
  char control[64], name[16];
  received_header = (struct msghdr){.msg_iov = vectors, .msg_iovlen = 3, .msg_control = control, .msg_controllen = sizeof control,
                                    .msg_name = name, .msg_namelen = sizeof name, .msg_flags = MSG_TRUNC};
  return recvmsg(((int*)fds)[0], &received_header, MSG_WAITALL);
}
static long in_sendfile(void* fds) { return sendfile(((int*)fds)[1], file, &offset, kLarge - 4096); }
static long in_sendfile_at_position(void* fds) { return sendfile(((int*)fds)[1], plain_file, NULL, kLarge); }

static struct mmsghdr incoming[kMessages], outgoing[kDatagrams];
static struct iovec incoming_vectors[kMessages], outgoing_vectors[kDatagrams];
static long in_recvmmsg(void* fds) {
  for (int i = 0; i < kMessages; i++) {
    incoming_vectors[i] = (struct iovec){gathered[1] + i * 100, 100};
    incoming[i].msg_hdr = (struct msghdr){.msg_iov = &incoming_vectors[i], .msg_iovlen = 1};
  }
  return recvmmsg(((int*)fds)[0], incoming, kMessages, 0, NULL);
}
static long in_sendmmsg(void* fds) {
  for (int i = 0; i < kDatagrams; i++) {
    outgoing_vectors[i] = (struct iovec){pattern + i * 1000, 1000};
    outgoing[i].msg_hdr = (struct msghdr){.msg_iov = &outgoing_vectors[i], .msg_iovlen = 1};
  }
  return sendmmsg(((int*)fds)[1], outgoing, kDatagrams, 0);
}

/// Takes bytes `from` to `until` of the pattern out of a stream.
static void drain(int fd, size_t from, size_t until) {
  static char block[65536];
  while (from < until) {
    const size_t wanted = until - from < sizeof block ? until - from : sizeof block;
    const long got = MUST(read(fd, block, wanted));
    CHECK(got > 0 && !memcmp(block, pattern + from, got), "the stream differs within %ld bytes of %zu", got, from);
    from += got;
  }
}

int main(int argc, char** argv) {
  begin(argc, argv);
  pattern = malloc(kLarge);
  fill_pattern(pattern, kLarge, 5);
  file = MUST(open(scratch_path("file"), O_RDWR | O_CREAT, 0600));
  plain_file = MUST(open(scratch_path("plain"), O_RDWR | O_CREAT, 0600));
  CHECK_EQUAL(write(file, pattern, kLarge), kLarge);
  CHECK_EQUAL(write(plain_file, pattern, kLarge), kLarge);
  MUST(lseek(plain_file, 0, SEEK_SET));
  int pairs[7][2];
  MUST(pipe(pairs[0]));
  for (int i = 1; i < 7; i++) MUST(socketpair(AF_UNIX, i < 5 ? SOCK_STREAM : SOCK_DGRAM, 0, pairs[i]));
  CHECK_EQUAL(write(pairs[2][1], pattern, 50), 50);
  for (int i = 0; i < 2; i++) CHECK_EQUAL(write(pairs[5][1], pattern + i * 10, 10 + i), 10 + i);

  struct sleeper sleepers[] = {
      SLEEPER("writev", SYS_writev, in_writev, pairs[0]),
      SLEEPER("sendmsg", SYS_sendmsg, in_sendmsg, pairs[1]),
      SLEEPER("recvmsg of all", SYS_recvmsg, in_recvmsg, pairs[2]),
      SLEEPER("sendfile from an offset", SYS_sendfile, in_sendfile, pairs[3]),
      SLEEPER("sendfile from the file's position", SYS_sendfile, in_sendfile_at_position, pairs[4]),
      SLEEPER("recvmmsg", SYS_recvmmsg, in_recvmmsg, pairs[5]),
      SLEEPER("sendmmsg", SYS_sendmmsg, in_sendmmsg, pairs[6]),
  };
  enum { kCount = sizeof sleepers / sizeof *sleepers };
  start_sleepers(sleepers, kCount);
  drain(pairs[0][0], 0, 300000);
  drain(pairs[1][0], 0, 300000);
  drain(pairs[3][0], 4096, 200000);
  drain(pairs[4][0], 0, 200000);
  for (int i = 0; i < kCount; i++) wait_asleep_in(getpid(), sleepers[i].tid, sleepers[i].number);
  checkpoint_here();
  expect_asleep(sleepers, kCount);

  drain(pairs[0][0], 300000, kLarge);
  expect_returns(&sleepers[0], kLarge);
  drain(pairs[1][0], 300000, kLarge);
  expect_returns(&sleepers[1], kLarge);
  CHECK_EQUAL(write(pairs[2][1], pattern + 50, 950), 950);
  expect_returns(&sleepers[2], 1000);
  check_pattern("what recvmsg gathered", gathered[0], 1000, 5);
  CHECK(received_header.msg_controllen == 0 && received_header.msg_namelen == 0 && received_header.msg_flags == 0,
        "recvmsg tells of %zu bytes of control data, a name of %u, flags %#x", received_header.msg_controllen, received_header.msg_namelen,
        received_header.msg_flags);
  drain(pairs[3][0], 200000, kLarge);
  expect_returns(&sleepers[3], kLarge - 4096);
  CHECK_EQUAL(offset, kLarge);
  drain(pairs[4][0], 200000, kLarge);
  expect_returns(&sleepers[4], kLarge);
  CHECK_EQUAL(lseek(plain_file, 0, SEEK_CUR), kLarge);
  for (int i = 2; i < kMessages; i++) CHECK_EQUAL(write(pairs[5][1], pattern + i * 10, 10 + i), 10 + i);
  expect_returns(&sleepers[5], kMessages);
  for (int i = 0; i < kMessages; i++)
    CHECK(incoming[i].msg_len == 10u + i && !memcmp(gathered[1] + i * 100, pattern + i * 10, 10 + i), "message %d came over differently", i);
  for (int i = 0; i < kDatagrams; i++) {
    char datagram[1001];
    CHECK_EQUAL(MUST(read(pairs[6][0], datagram, sizeof datagram)), 1000);
    CHECK(!memcmp(datagram, pattern + i * 1000, 1000), "datagram %d came over differently", i);
  }
  expect_returns(&sleepers[6], kDatagrams);
  return 0;
}
