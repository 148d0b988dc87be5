// Descriptors passed over UNIX sockets (SCM_RIGHTS).
#pragma once

#include "check.h"
#include <sys/socket.h>

/// Sends `text` with `count` descriptors.
static MAYBE_UNUSED void send_descriptors(int socket, const char* text, const int* fds, int count) {
  char control[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8))) = {0};
  struct iovec vector = {(void*)text, strlen(text)};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(header), fds, count * sizeof(int));
  CHECK_EQUAL(sendmsg(socket, &message, 0), strlen(text));
}

/// Receives one message, which must be `text`; returns how many descriptors came with it.
static MAYBE_UNUSED int receive_descriptors(int socket, const char* text, int* fds) {
  char control[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8)));
  char found[128] = "";
  struct iovec vector = {found, strlen(text)};  // a stream would go on with the next message
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  CHECK_EQUAL(recvmsg(socket, &message, MSG_DONTWAIT), strlen(text));
  CHECK_EQUAL(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
  CHECK(!strcmp(found, text), "received %s, not %s", found, text);
  const struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == NULL) return 0;
  CHECK_EQUAL(header->cmsg_type, SCM_RIGHTS);
  const int count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  memcpy(fds, CMSG_DATA(header), count * sizeof(int));
  return count;
}
