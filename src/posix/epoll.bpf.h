// Epoll sets.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

struct EpollRecord {
  struct RecordHeader header;
  uint64_t file;
  uint64_t epoll;
};
/// One file in an epoll set. The descriptor is the number it was added by: it may long be closed, or be another file's.
struct EpollItemRecord {
  struct RecordHeader header;
  uint64_t epoll_file;                ///< the epoll's own open file description
  uint64_t item;                      ///< identity
  uint64_t file;                      ///< the one that is watched
  int32_t descriptor;
  uint32_t events;                    ///< EPOLL*; without any event bit: a spent EPOLLONESHOT
  uint64_t data;
  uint64_t is_ready;                  ///< an event waits to be told
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/output.bpf.h"

enum { kEpollItemLimit = 1 << 20, kRedBlackDepthLimit = 64 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct eventpoll {
  struct rb_root_cached rbr;
};
struct epoll_filefd {
  struct file *file;
  int fd;
} __attribute__((packed));
struct epoll_event {
  uint32_t events;
  uint64_t data;
} __attribute__((packed));
struct epitem {
  struct rb_node rbn;
  struct list_head rdllink;
  struct epoll_filefd ffd;
  struct epoll_event event;
};
#pragma clang attribute pop

/// The first node in the order of a red-black tree with this root; 0 when it is empty.
static __noinline uint64_t first_in_tree(uint64_t root) {
  REPEAT(kRedBlackDepthLimit) {
    uint64_t left = word_at(root + FIELD_OFFSET(rb_node, rb_left));
    if (!root || !left) break;
    root = left;
  }
  return root;
}

/// The node after `node` in the order of a red-black tree; 0 after the last.
static __noinline uint64_t next_in_tree(uint64_t node) {
  uint64_t right = word_at(node + FIELD_OFFSET(rb_node, rb_right));
  if (right) return first_in_tree(right);
  uint64_t parent = 0;
  REPEAT(kRedBlackDepthLimit) {
    parent = word_at(node + FIELD_OFFSET(rb_node, __rb_parent_color)) & ~3ull;
    if (!parent || word_at(parent + FIELD_OFFSET(rb_node, rb_right)) != node) break;
    node = parent;
  }
  return parent;
}

static __always_inline bool put_epoll_item(struct Pass *pass, uint64_t address, uint64_t epoll_file) {
  struct EpollItemRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  struct epitem *item = KERNEL(epitem, address);
  record->epoll_file = epoll_file;
  record->item = address;
  record->file = (uint64_t)item->ffd.file;
  record->descriptor = item->ffd.fd;
  record->events = item->event.events;
  record->data = item->event.data;
  uint64_t link = address + FIELD_OFFSET(epitem, rdllink);
  record->is_ready = word_at(link) != link;
  finish_record(pass, &record->header, kEpollItemRecord, sizeof(*record));
  return true;
}

static __always_inline bool put_epoll(struct Pass *pass, struct file *file) {
  struct EpollRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  struct eventpoll *epoll = KERNEL(eventpoll, file->private_data);
  record->file = (uint64_t)file;
  record->epoll = (uint64_t)epoll;
  finish_record(pass, &record->header, kEpollRecord, sizeof(*record));
  uint64_t node = ADDRESS(epoll, rbr.rb_leftmost);
  REPEAT(kEpollItemLimit) {
    if (!node) break;
    if (!put_epoll_item(pass, node - FIELD_OFFSET(epitem, rbn), (uint64_t)file)) return false;
    node = next_in_tree(node);
  }
  return true;
}
#endif
