// Descriptors that stand for an event: eventfd, timerfd, signalfd, pidfd, inotify.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

struct EventfdRecord {
  struct RecordHeader header;
  uint64_t file;
  uint64_t count;
  uint32_t flags;                     ///< EFD_SEMAPHORE
  uint32_t reserved;
};

struct TimerfdRecord {
  struct RecordHeader header;
  uint64_t file;
  uint64_t active;                    ///< the kernel timer runs; a periodic one rests from its expiry to the next read
  int64_t remaining_ns;               ///< until the next expiry, or since the last one when negative
  int64_t expires_ns;                 ///< the same on the clock `base_clock`, of the machine, not of the group
  uint64_t interval_ns;
  uint64_t ticks;                     ///< expiries not yet read
  uint32_t clock;                     ///< CLOCK_*
  uint32_t expired;
  uint32_t settime_flags;             ///< TFD_TIMER_*
  uint32_t base_clock;                ///< CLOCK_*: a relative CLOCK_REALTIME timer runs on CLOCK_MONOTONIC
};

struct SignalfdRecord {
  struct RecordHeader header;
  uint64_t file;
  uint64_t accepted;                  ///< set of signals that it reads
};

struct PidfdRecord {
  struct RecordHeader header;
  uint64_t file;
  uint64_t pid_identity;              ///< address of struct pid
  uint32_t pid, host_pid;             ///< in the group's and in the caller's PID namespace; 0 when gone or outside
};

struct InotifyRecord {
  struct RecordHeader header;
  uint64_t file;
  uint64_t group;
  uint32_t mark_count, queued_events, event_limit;
  uint32_t next_watch;                ///< watch descriptors are given cyclically from here
};
/// One watch of an inotify instance. The tail is a path of it within its file system: names with a closing 0 each, innermost first.
struct InotifyWatchRecord {
  struct RecordHeader header;
  uint64_t file;                      ///< of the inotify instance
  uint64_t mark;                      ///< identity
  uint64_t inode, inode_number;       ///< what is watched
  uint32_t device;                    ///< in the kernel's own coding
  int32_t watch;                      ///< watch descriptor
  uint32_t mask;                      ///< IN_*, and bits of the kernel's own
  uint32_t flags;                     ///< FSNOTIFY_MARK_FLAG_*
  uint32_t path_bytes;                ///< 0: the file system's root
  uint32_t link_count;                ///< 0: it has no name any more
  uint32_t is_named;                  ///< 0: the kernel has forgotten its name (dentries are dropped when memory is short)
  uint32_t reserved;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/file.bpf.h"
#include "posix/output.bpf.h"
#include "posix/process.bpf.h"

enum { kPathBytesLimit = 4096, kNameBytesLimit = 256, kInotifyMarkLimit = 1 << 20, kClockRealtimeAlarm = 8 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct eventfd_ctx {
  uint64_t count;
  unsigned int flags;
};
struct alarm {
  struct hrtimer timer;
};
struct timerfd_ctx {
  union {
    struct hrtimer tmr;
    struct alarm alarm;
  } t;
  int64_t tintv;
  uint64_t ticks;
  int clockid;
  unsigned short expired, settime_flags;
};
struct signalfd_ctx {
  sigset_t sigmask;
};
struct idr___next {
  unsigned int idr_next;
};
struct inotify_group_private_data {
  struct idr idr;
};
struct fsnotify_group {
  unsigned int q_len, max_events;
  struct list_head marks_list;
  struct inotify_group_private_data inotify_data;
};
struct fsnotify_mark_connector {
  void *obj;
};
struct fsnotify_mark {
  uint32_t mask;
  struct list_head g_list;
  struct fsnotify_mark_connector *connector;
  unsigned int flags;
};
struct inotify_inode_mark {
  struct fsnotify_mark fsn_mark;
  int wd;
};
struct inode___marks {
  struct fsnotify_mark_connector *i_fsnotify_marks;
  struct hlist_head i_dentry;
};
struct dentry___alias {
  union {
    struct hlist_node d_alias;
  } d_u;
};
struct inode___private {
  void *i_private;
};
#pragma clang attribute pop

static __always_inline bool put_eventfd(struct Pass *pass, struct file *file) {
  struct EventfdRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  struct eventfd_ctx *context = KERNEL(eventfd_ctx, file->private_data);
  record->file = (uint64_t)file;
  record->count = context->count;
  record->flags = context->flags;
  record->reserved = 0;
  finish_record(pass, &record->header, kEventfdRecord, sizeof(*record));
  return true;
}

static __always_inline bool put_timerfd(struct Pass *pass, struct file *file) {
  struct TimerfdRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  struct timerfd_ctx *context = KERNEL(timerfd_ctx, file->private_data);
  record->file = (uint64_t)file;
  record->clock = context->clockid;
  struct TimerReading reading;
  if (record->clock >= kClockRealtimeAlarm) fill_timer(pass, &context->t.alarm.timer, &reading);
  else fill_timer(pass, &context->t.tmr, &reading);
  record->active = reading.active;
  record->remaining_ns = reading.remaining_ns;
  struct hrtimer *timer = record->clock >= kClockRealtimeAlarm ? &context->t.alarm.timer : &context->t.tmr;
  record->expires_ns = timer->node.expires;
  record->base_clock = timer->base->clockid;
  record->interval_ns = context->tintv;
  record->ticks = context->ticks;
  record->expired = context->expired;
  record->settime_flags = context->settime_flags;
  finish_record(pass, &record->header, kTimerfdRecord, sizeof(*record));
  return true;
}

/// The kernel keeps the complement of the set, as a mask.
static __always_inline bool put_signalfd(struct Pass *pass, struct file *file) {
  struct SignalfdRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  record->file = (uint64_t)file;
  record->accepted = ~KERNEL(signalfd_ctx, file->private_data)->sigmask.sig[0];
  finish_record(pass, &record->header, kSignalfdRecord, sizeof(*record));
  return true;
}

/// Since 6.9 a pidfd is a file of pidfs, and its inode names the process; before, the file does.
static __always_inline bool put_pidfd(struct Pass *pass, struct file *file, uint64_t magic, uint32_t level) {
  struct PidfdRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  struct inode___private *inode = (void *)file->f_inode;
  struct pid *pid = KERNEL(pid, magic == kPidfsMagic ? (uint64_t)inode->i_private : (uint64_t)file->private_data);
  record->file = (uint64_t)file;
  record->pid_identity = (uint64_t)pid;
  bool alive = pid->tasks[0].first != NULL;
  record->pid = alive ? pid_number(pid, level) : 0;
  record->host_pid = alive ? pid_number(pid, host_level()) : 0;
  finish_record(pass, &record->header, kPidfdRecord, sizeof(*record));
  return true;
}

static __always_inline uint32_t list_length(uint64_t head, uint32_t limit) {
  uint64_t at = word_at(head);
  uint32_t length = 0;
  REPEAT(limit) {
    if (at == head || !at) break;
    length++;
    at = word_at(at);
  }
  return length;
}

/// The names from a dentry up to its file system's root. Returns how many bytes they take.
static __noinline uint64_t copy_names(struct Pass *pass, uint64_t dentry, uint8_t *to) {
  uint64_t filled = 0;
  REPEAT(kPathDepthLimit) {
    uint64_t parent = word_at(dentry + FIELD_OFFSET(dentry, d_parent));
    if (parent == dentry || !parent) break;
    filled = at_most(filled, kPathBytesLimit);
    long size = bpf_probe_read_kernel_str(to + filled, kNameBytesLimit, (void *)word_at(dentry + FIELD_OFFSET(dentry, d_name.name)));
    if (size < 0) break;
    filled = forget(pass->request, filled + size);
    dentry = parent;
  }
  return filled;
}

/// Up to 6.9 a connector pointed to the inode's pointer to itself, since then to the inode.
static __always_inline uint64_t watched_inode(uint64_t connector) {
  uint64_t object = word_at(connector + FIELD_OFFSET(fsnotify_mark_connector, obj));
  uint64_t offset = FIELD_OFFSET(inode___marks, i_fsnotify_marks);
  return word_at(object + offset) == connector ? object : object - offset;
}

static __noinline int put_inotify_watch(struct Pass *pass, uint64_t address, uint64_t file) {
  struct InotifyWatchRecord *record = begin_record(pass, sizeof(*record), 2 * kPathBytesLimit);
  if (!record) return 0;
  struct inotify_inode_mark *mark = KERNEL(inotify_inode_mark, address);
  uint64_t inode_address = watched_inode((uint64_t)mark->fsn_mark.connector);
  struct inode *inode = KERNEL(inode, inode_address);
  record->file = file;
  record->mark = address;
  record->inode = inode_address;
  record->inode_number = inode->i_ino;
  record->device = inode->i_sb->s_dev;
  record->watch = mark->wd;
  record->mask = mark->fsn_mark.mask;
  record->flags = mark->fsn_mark.flags;
  record->link_count = inode->i_nlink;
  record->reserved = 0;
  uint64_t alias = word_at(inode_address + FIELD_OFFSET(inode___marks, i_dentry.first));
  uint64_t size = alias ? copy_names(pass, alias - FIELD_OFFSET(dentry___alias, d_u.d_alias), (uint8_t *)(record + 1)) : 0;
  size = at_most(size, kPathBytesLimit);
  record->path_bytes = size;
  record->is_named = alias != 0;
  finish_record(pass, &record->header, kInotifyWatchRecord, sizeof(*record) + size);
  return 1;
}

static __always_inline bool put_inotify_watches(struct Pass *pass, uint64_t group, uint64_t file) {
  uint64_t head = group + FIELD_OFFSET(fsnotify_group, marks_list), at = word_at(head);
  REPEAT(kInotifyMarkLimit) {
    if (at == head || !at) break;
    uint64_t mark = at - FIELD_OFFSET(fsnotify_mark, g_list);
    if (!put_inotify_watch(pass, mark, file)) return false;
    at = word_at(at);
  }
  return true;
}

static __always_inline bool put_inotify(struct Pass *pass, struct file *file) {
  struct InotifyRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  uint64_t address = ADDRESS(file, private_data);
  struct fsnotify_group *group = KERNEL(fsnotify_group, address);
  record->file = (uint64_t)file;
  record->group = address;
  record->mark_count = list_length(address + FIELD_OFFSET(fsnotify_group, marks_list), kInotifyMarkLimit);
  record->queued_events = group->q_len;
  record->event_limit = group->max_events;
  record->next_watch = ((struct idr___next *)&group->inotify_data.idr)->idr_next;
  finish_record(pass, &record->header, kInotifyRecord, sizeof(*record));
  return put_inotify_watches(pass, address, (uint64_t)file);
}
#endif
