// Directories whose changes are told by signals: fcntl(F_NOTIFY), which the kernel calls dnotify.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// That a descriptor table has had an open directory watched.
struct DirectoryWatchRecord {
  struct RecordHeader header;
  uint64_t file;                      ///< identity of the open file description
  uint64_t watch;                     ///< identity
  uint64_t table;                     ///< the files_struct
  uint32_t events;                    ///< FS_* of the kernel
  int32_t descriptor;                 ///< what the signal tells
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/event_descriptors.bpf.h"
#include "posix/output.bpf.h"

enum { kDirectory = 0040000, kDirectoryMarkLimit = 1 << 12, kDirectoryWatchLimit = 1 << 16 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct dnotify_struct {
  struct dnotify_struct *dn_next;
  uint32_t dn_mask;
  int dn_fd;
  struct file *dn_filp;
  void *dn_owner;
};
struct dnotify_mark {
  struct dnotify_struct *dn;
};
struct fsnotify_mark_connector___list {
  struct hlist_head list;
};
struct fsnotify_mark___object {
  struct hlist_node obj_list;
};
#pragma clang attribute pop

static __always_inline bool put_directory_watch(struct Pass *pass, uint64_t address) {
  struct DirectoryWatchRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  struct dnotify_struct *watch = KERNEL(dnotify_struct, address);
  record->file = (uint64_t)watch->dn_filp;
  record->watch = address;
  record->table = (uint64_t)watch->dn_owner;
  record->events = watch->dn_mask;
  record->descriptor = watch->dn_fd;
  finish_record(pass, &record->header, kDirectoryWatchRecord, sizeof(*record));
  return true;
}

/// The watches of `file` among those that hang on a mark. Nothing says to whom a mark belongs: what hangs on others' is no watch of the file.
static __noinline int put_watches_of_mark(struct Pass *pass, uint64_t mark, uint64_t file) {
  uint64_t first = word_at(mark + FIELD_OFFSET(dnotify_mark, dn)), at = first;
  REPEAT(kDirectoryWatchLimit) {
    if (!at) break;
    if (word_at(at + FIELD_OFFSET(dnotify_struct, dn_filp)) == file && !put_directory_watch(pass, at)) return 0;
    at = word_at(at + FIELD_OFFSET(dnotify_struct, dn_next));
    if (at == first) break;
  }
  return 1;
}

/// Who watches an open directory. False when the output is full.
static __noinline int put_directory_watches(struct Pass *pass, uint64_t file) {
  uint64_t inode = word_at(file + FIELD_OFFSET(file, f_inode));
  if (!bpf_core_type_exists(struct dnotify_mark) || (KERNEL(inode, inode)->i_mode & kFileTypeMask) != kDirectory) return 1;
  uint64_t connector = word_at(inode + FIELD_OFFSET(inode___marks, i_fsnotify_marks));
  if (!connector) return 1;
  uint64_t at = word_at(connector + FIELD_OFFSET(fsnotify_mark_connector___list, list));
  REPEAT(kDirectoryMarkLimit) {
    if (!at) break;
    if (!put_watches_of_mark(pass, at - FIELD_OFFSET(fsnotify_mark___object, obj_list), file)) return 0;
    at = word_at(at);
  }
  return 1;
}
#endif
