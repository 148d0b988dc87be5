// Locks on files: POSIX, open file description, flock, and leases.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

enum FileLockKind { kPosixLock = 1, kFlock = 2, kLease = 3 };

/// A lock that is held on an inode, by anyone on the machine: the owner says by whom.
struct FileLockRecord {
  struct RecordHeader header;
  uint64_t inode;
  uint64_t lock;                      ///< identity
  uint64_t owner;                     ///< a POSIX lock's files_struct; of the others the open file description
  uint64_t file;                      ///< through which it was taken
  int64_t start, end;                 ///< of POSIX and OFD locks: first and last byte
  uint32_t kind;                      ///< enum FileLockKind
  uint32_t flags;                     ///< FL_*: 0x400 is an OFD lock
  uint32_t type;                      ///< F_RDLCK, F_WRLCK, F_UNLCK
  int32_t host_pid;                   ///< as of when it was taken
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/output.bpf.h"

enum { kFileLockLimit = 1 << 16 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct file_lock_context {
  struct list_head flc_flock, flc_posix, flc_lease;
};
struct file_lock_core {
  struct list_head flc_list;
  void *flc_owner;
  unsigned int flc_flags;
  unsigned char flc_type;
  int flc_pid;
  struct file *flc_file;
};
struct file_lock {
  struct file_lock_core c;
  int64_t fl_start, fl_end;
};
/// Up to 6.8 a lock had no core.
struct file_lock___flat {
  struct list_head fl_list;
  void *fl_owner;
  unsigned int fl_flags;
  unsigned char fl_type;
  unsigned int fl_pid;
  struct file *fl_file;
};
#pragma clang attribute pop

static __always_inline bool locks_have_core(void) { return bpf_core_field_exists(((struct file_lock *)0)->c); }

static __always_inline void fill_lock_core(struct file_lock *lock, struct FileLockRecord *record) {
  struct file_lock___flat *flat = (void *)lock;
  record->owner = locks_have_core() ? (uint64_t)lock->c.flc_owner : (uint64_t)flat->fl_owner;
  record->file = locks_have_core() ? (uint64_t)lock->c.flc_file : (uint64_t)flat->fl_file;
  record->flags = locks_have_core() ? lock->c.flc_flags : flat->fl_flags;
  record->type = locks_have_core() ? lock->c.flc_type : flat->fl_type;
  record->host_pid = locks_have_core() ? lock->c.flc_pid : (int)flat->fl_pid;
}

static __always_inline bool put_lock(struct Pass *pass, uint64_t link, uint64_t inode, uint32_t kind) {
  uint64_t offset = locks_have_core() ? FIELD_OFFSET(file_lock, c.flc_list) : FIELD_OFFSET(file_lock___flat, fl_list);
  struct file_lock *lock = KERNEL(file_lock, link - offset);
  struct FileLockRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  record->inode = inode;
  record->lock = (uint64_t)lock;
  record->kind = kind;
  fill_lock_core(lock, record);
  record->start = kind == kPosixLock ? lock->fl_start : 0;
  record->end = kind == kPosixLock ? lock->fl_end : 0;
  finish_record(pass, &record->header, kFileLockRecord, sizeof(*record));
  return true;
}

static __noinline int put_lock_list(struct Pass *pass, uint64_t head, uint64_t inode, uint32_t kind) {
  uint64_t at = word_at(head);
  REPEAT(kFileLockLimit) {
    if (at == head || !at) break;
    if (!put_lock(pass, at, inode, kind)) return 0;
    at = word_at(at);
  }
  return 1;
}

/// The locks on a file's inode, once. False when the output is full.
static __always_inline bool put_locks(struct Pass *pass, struct file *file) {
  uint64_t inode = ADDRESS(file, f_inode);
  uint64_t context = word_at(inode + FIELD_OFFSET(inode, i_flctx));
  if (!context || was_seen(pass, context)) return true;
  bool complete = put_lock_list(pass, context + FIELD_OFFSET(file_lock_context, flc_posix), inode, kPosixLock) &&
                  put_lock_list(pass, context + FIELD_OFFSET(file_lock_context, flc_flock), inode, kFlock) &&
                  put_lock_list(pass, context + FIELD_OFFSET(file_lock_context, flc_lease), inode, kLease);
  if (complete) mark_seen(pass, context);
  return complete;
}
#endif
