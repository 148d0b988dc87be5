// POSIX message queues (mq_overview(7)).
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// A queue; keyed by its inode's address.
struct MessageQueueRecord {
  struct RecordHeader header;
  uint64_t inode;
  uint64_t message_limit, message_size_limit, message_count;  ///< mq_maxmsg, mq_msgsize, mq_curmsgs
  uint64_t queued_bytes;
  uint64_t notify_value;              ///< sigev_value
  uint32_t notify;                    ///< SIGEV_* of mq_notify
  uint32_t notify_signal;
  uint32_t notify_pid, notify_host_pid;  ///< who is notified; 0: nobody
};
/// One message. The tail is its text.
struct QueuedMessageRecord {
  struct RecordHeader header;
  uint64_t inode;
  uint64_t message;                   ///< identity
  uint32_t priority;
  uint32_t length;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/epoll.bpf.h"
#include "posix/output.bpf.h"
#include "posix/socket_queue.bpf.h"

enum { kQueuedMessageLimit = 1 << 16, kMessageSegmentLimit = 1024, kMqueueMagic = 0x19800202, kPage = 4096 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct mq_attr {
  long mq_maxmsg, mq_msgsize, mq_curmsgs;
};
struct mqueue_inode_info {
  struct inode vfs_inode;
  struct rb_root msg_tree;
  struct rb_node *msg_tree_rightmost;
  struct mq_attr attr;
  struct sigevent {
    int sigev_signo, sigev_notify;
  } notify;
  struct pid *notify_owner;
  unsigned long qsize;
};
struct posix_msg_tree_node {
  struct rb_node rb_node;
  struct list_head msg_list;
  int priority;
};
struct msg_msgseg {
  struct msg_msgseg *next;
};
struct msg_msg {
  struct list_head m_list;
  long m_type;
  size_t m_ts;
  struct msg_msgseg *next;
};
#pragma clang attribute pop

/// Copies a message's text: a first piece behind its header, then page by page. Returns more than the limit when it cannot.
static __noinline uint64_t copy_text(struct Pass *pass, uint64_t message, uint8_t *to) {
  struct msg_msg *header = KERNEL(msg_msg, message);
  uint64_t left = header->m_ts, next = ADDRESS(header, next);
  if (left > kMessageBytesLimit) return kMessageBytesLimit + 1;
  uint64_t size = at_most(left, kPage - bpf_core_type_size(struct msg_msg)), filled = at_most(size, kPage);
  if (bpf_probe_read_kernel(to, filled, (void *)(message + bpf_core_type_size(struct msg_msg)))) return kMessageBytesLimit + 1;
  left -= size;
  REPEAT(kMessageSegmentLimit) {
    if (!left || !next) break;
    size = at_most(left, kPage - bpf_core_type_size(struct msg_msgseg));
    size = at_most(size, kPage);
    filled = at_most(filled, kMessageBytesLimit);
    if (bpf_probe_read_kernel(to + filled, size, (void *)(next + bpf_core_type_size(struct msg_msgseg)))) return kMessageBytesLimit + 1;
    filled = forget(pass->request, filled + size);
    left = forget(pass->request, left - size);
    next = word_at(next);
  }
  return left ? kMessageBytesLimit + 1 : filled;
}

static __noinline int put_queued_message(struct Pass *pass, uint64_t message, uint64_t inode) {
  struct QueuedMessageRecord *record = begin_record(pass, sizeof(*record), 2 * kMessageBytesLimit);
  if (!record) return 0;
  uint64_t length = copy_text(pass, message, (uint8_t *)(record + 1));
  if (length > kMessageBytesLimit) {
    pass->request->status = kPassUnreadableMessage;
    return 0;
  }
  record->inode = inode;
  record->message = message;
  record->priority = KERNEL(msg_msg, message)->m_type;
  record->length = length;
  finish_record(pass, &record->header, kQueuedMessageRecord, sizeof(*record) + length);
  return 1;
}

static __always_inline bool put_queue(struct Pass *pass, struct mqueue_inode_info *queue, uint64_t inode) {
  struct MessageQueueRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  record->inode = inode;
  record->message_limit = queue->attr.mq_maxmsg;
  record->message_size_limit = queue->attr.mq_msgsize;
  record->message_count = queue->attr.mq_curmsgs;
  record->queued_bytes = queue->qsize;
  uint64_t notify = (uint64_t)&queue->notify;
  record->notify_value = word_at(notify);
  record->notify = queue->notify.sigev_notify;
  record->notify_signal = queue->notify.sigev_signo;
  struct pid *owner = queue->notify_owner;
  record->notify_pid = pid_number(owner, group_level_of_caller(pass->request));
  record->notify_host_pid = pid_number(owner, host_level());
  finish_record(pass, &record->header, kMessageQueueRecord, sizeof(*record));
  return true;
}

/// The queue whose inode is at request->address, from its request->next'th message on: by rising priority, then by age.
static __always_inline void put_message_queue(struct Pass *pass) {
  struct CollectRequest *request = pass->request;
  uint64_t inode = request->address;
  if (KERNEL(inode, inode)->i_sb->s_magic != kMqueueMagic) {
    request->status = kPassWrongKind;
    return;
  }
  struct mqueue_inode_info *queue = KERNEL_CONTAINER(mqueue_inode_info, vfs_inode, inode);
  if (!put_queue(pass, queue, inode)) return;
  uint64_t node = first_in_tree(ADDRESS(queue, msg_tree.rb_node)), head = 0, at = 0, skip = request->next;
  REPEAT(kQueuedMessageLimit) {
    if (at == head) {
      if (!node) break;
      head = node - FIELD_OFFSET(posix_msg_tree_node, rb_node) + FIELD_OFFSET(posix_msg_tree_node, msg_list);
      at = word_at(head);
      node = next_in_tree(node);
      continue;
    }
    if (skip) {
      skip--;
    } else {
      if (!put_queued_message(pass, at, inode)) break;
      request->next++;
    }
    at = word_at(at);
  }
}
#endif
