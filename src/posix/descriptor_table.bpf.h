// Descriptor tables: each descriptor, and the state of each kind of file behind them. Kernel side only.
#pragma once

#include "posix/directory_watch.bpf.h"
#include "posix/epoll.bpf.h"
#include "posix/event_descriptors.bpf.h"
#include "posix/file.bpf.h"
#include "posix/file_lock.bpf.h"
#include "posix/pipe.bpf.h"
#include "posix/socket.bpf.h"
#include "posix/terminal.bpf.h"

static __always_inline bool put_socket_file(struct Pass *pass, struct file *file, uint32_t level) {
  uint64_t socket = ADDRESS(file, private_data);
  return put_socket(pass, word_at(socket + FIELD_OFFSET(socket, sk)), socket, level);
}

/// The state that goes with a file's kind. False when the output is full.
static __always_inline bool put_file_state(struct Pass *pass, struct file *file, uint32_t kind, uint64_t magic, uint32_t level) {
  switch (kind) {
    case kPipeFile: return put_pipe(pass, file);
    case kSocketFile: return put_socket_file(pass, file, level);
    case kEventfdFile: return put_eventfd(pass, file);
    case kTimerfdFile: return put_timerfd(pass, file);
    case kSignalfdFile: return put_signalfd(pass, file);
    case kEpollFile: return put_epoll(pass, file);
    case kPidfdFile: return put_pidfd(pass, file, magic, level);
    case kInotifyFile: return put_inotify(pass, file);
    case kTerminalFile: return put_terminal(pass, file, level);
    default: return true;
  }
}

/// One descriptor (bit 32: close-on-exec), or one in flight in a message, with all that belongs to its file; nothing, and false, when the
/// output is full.
static __noinline int put_file(struct Pass *pass, uint64_t file_address, uint64_t descriptor, uint64_t message, uint32_t level) {
  uint64_t start = pass->request->used;
  struct FileRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return 0;
  struct file *file = KERNEL(file, file_address);
  record->descriptor = (int32_t)descriptor;
  record->close_on_exec = descriptor >> 32;
  record->message = message;
  fill_file(file, record, level);
  finish_record(pass, &record->header, kFileRecord, sizeof(*record));
  if (was_seen(pass, file_address)) return 1;
  if (put_file_state(pass, file, record->kind, record->filesystem_magic, level) && put_locks(pass, file) &&
      put_directory_watches(pass, file_address)) {
    mark_seen(pass, file_address);
    return 1;
  }
  pass->request->used = start;
  return 0;
}

static __always_inline bool bit_at(uint64_t bitmap, uint32_t bit) { return word_at(bitmap + bit / 64 * 8) >> (bit % 64) & 1; }

enum { kFilesAhead = 4 };

/// The memory of one file after the other is far from each other: waited for one by one, it takes longer than all else.
static __always_inline void fetch_files_ahead(uint64_t slots, uint64_t descriptor, uint32_t limit) {
  if (descriptor + 2 * kFilesAhead >= limit) return;
  uint64_t farther = word_at(slots + (descriptor + 2 * kFilesAhead) * 8), near = word_at(slots + (descriptor + kFilesAhead) * 8);
  if (farther) {
    fetch_ahead(farther + FIELD_OFFSET(file, f_mode));
    fetch_ahead(farther + FIELD_OFFSET(file, f_path));
    fetch_ahead(farther + FIELD_OFFSET(file, f_pos));
  }
  if (!near) return;
  uint64_t inode = word_at(near + FIELD_OFFSET(file, f_inode)), dentry = word_at(near + FIELD_OFFSET(file, f_path.dentry));
  uint64_t state = word_at(near + FIELD_OFFSET(file, private_data));
  fetch_ahead(inode);
  fetch_ahead(inode + FIELD_OFFSET(inode, i_ino));
  fetch_ahead(inode + FIELD_OFFSET(inode, i_size));
  fetch_ahead(dentry);
  fetch_ahead(dentry + FIELD_OFFSET(dentry, d_name));
  if (state) fetch_ahead(state);
}

/// Every descriptor from request->next on.
static __always_inline void put_files(struct Pass *pass, struct task_struct *task) {
  struct files_struct *files = task->files;
  if (!files) return;
  struct fdtable *table = files->fdt;
  uint64_t slots = ADDRESS(table, fd), close_on_exec = ADDRESS(table, close_on_exec);
  uint32_t limit = table->max_fds, level = group_level(pass->request, task);
  uint64_t descriptor = pass->request->next;
  REPEAT(kDescriptorsPerPassLimit) {
    if (descriptor >= limit) break;
    fetch_files_ahead(slots, descriptor, limit);
    uint64_t file = word_at(slots + descriptor * 8);
    uint64_t flagged = descriptor | (uint64_t)bit_at(close_on_exec, descriptor) << 32;
    if (file && !put_file(pass, file, flagged, 0, level)) break;
    descriptor++;
  }
  pass->request->next = descriptor;
}
