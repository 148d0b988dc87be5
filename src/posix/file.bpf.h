// Descriptors and open file descriptions.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// What an open file description is, as far as it has state of its own; each of these but the first has a record of that name.
enum FileKindTag {
  kOtherFile = 0,  ///< regular files, directories, devices, and what has no record here: f_op and name say more
  kPipeFile,
  kSocketFile,
  kEventfdFile,
  kTimerfdFile,
  kSignalfdFile,
  kEpollFile,
  kPidfdFile,
  kInotifyFile,
  kTerminalFile,
};

/// One descriptor and the open file description behind it.
struct FileRecord {
  struct RecordHeader header;
  uint32_t kind;                      ///< enum FileKindTag
  uint32_t seals;                     ///< F_SEAL_* of a tmpfs or hugetlbfs inode, else 0
  int32_t descriptor;                 ///< of one in flight: -1, -2, ... by its place in the message
  uint32_t close_on_exec;
  uint64_t message;                   ///< SocketMessageRecord::buffer that carries it; 0 for one in a descriptor table
  uint64_t file;                      ///< identity of the open file description
  uint64_t operations;                ///< f_op
  uint64_t private_data;
  int64_t position;
  uint32_t flags;                     ///< O_* as fcntl(F_GETFL) gives them, and creation flags
  uint32_t mode;                      ///< FMODE_*
  uint64_t inode;                     ///< identity of the inode
  uint64_t inode_number;
  uint32_t inode_mode, special_device, link_count, device;  ///< device numbers in the kernel's own coding (major << 20 | minor)
  int64_t size;
  uint64_t filesystem_magic;
  int64_t mtime_ns, ctime_ns;
  uint64_t dentry, mount;
  uint64_t path_signature;            ///< changes when the file or a directory above it is renamed or unlinked
  char name[32];                      ///< last component of the path; "[eventfd]" and the like for anonymous inodes
  int32_t owner_pid;                  ///< F_SETOWN, in the group's PID namespace; negative for a process group, 0 without
  uint32_t owner_type;                ///< kernel's enum pid_type
  uint32_t owner_signal;              ///< F_SETSIG
  uint32_t owner_uid, owner_euid;
  uint32_t has_owner;
  uint32_t write_hint;                ///< F_SET_RW_HINT, of the inode
  uint32_t reserved;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/address_space.bpf.h"
#include "posix/output.bpf.h"
#include "posix/path.bpf.h"
#include "posix/task.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct shmem_inode_info {
  unsigned int seals;
  struct inode vfs_inode;
};
struct hugetlbfs_inode_info {
  struct inode vfs_inode;
  unsigned int seals;
};
struct userfaultfd_ctx {
  struct mm_struct *mm;
};
struct tty_file_private {
  struct tty_struct *tty;
  struct file *file;
};
#pragma clang attribute pop

enum {
  kTmpfsMagic = 0x01021994,
  kAnonymousInodeMagic = 0x09041934,
  kPidfsMagic = 0x50494446,
  kSockfsMagic = 0x534f434b,
};
#define kHugetlbfsMagic 0x958458f6ull
/// The first eight characters of a name, as a number.
#define NAME8(a, b, c, d, e, f, g, h)                                                                       \
  ((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24 | (uint64_t)(e) << 32 | \
   (uint64_t)(f) << 40 | (uint64_t)(g) << 48 | (uint64_t)(h) << 56)
#define kEventfdName NAME8('[', 'e', 'v', 'e', 'n', 't', 'f', 'd')
#define kTimerfdName NAME8('[', 't', 'i', 'm', 'e', 'r', 'f', 'd')
#define kSignalfdName NAME8('[', 's', 'i', 'g', 'n', 'a', 'l', 'f')
#define kEpollName NAME8('[', 'e', 'v', 'e', 'n', 't', 'p', 'o')
#define kPidfdName NAME8('[', 'p', 'i', 'd', 'f', 'd', ']', 0)
#define kUserfaultfdName NAME8('[', 'u', 's', 'e', 'r', 'f', 'a', 'u')
#define kInotifyName NAME8('i', 'n', 'o', 't', 'i', 'f', 'y', 0)

static __always_inline struct fown_struct *owner_of(struct file *file) {
  struct file___owner_inside *older = (void *)file;
  if (bpf_core_field_exists(older->f_owner.signum)) return &older->f_owner;
  return file->f_owner;
}

static __always_inline void fill_owner(struct file *file, struct FileRecord *record, uint32_t level) {
  struct fown_struct *owner = owner_of(file);
  struct pid *pid = owner ? owner->pid : NULL;
  record->owner_type = pid ? owner->pid_type : 0;
  record->owner_signal = owner ? owner->signum : 0;
  record->owner_uid = owner ? owner->uid.val : 0;
  record->owner_euid = owner ? owner->euid.val : 0;
  record->has_owner = pid != NULL;
  int32_t number = pid_number(pid, level);
  record->owner_pid = record->owner_type == 2 ? -number : number;
}

static __always_inline uint32_t write_hint(struct inode *inode) {
  struct inode___plain_hint *older = (void *)inode;
  uint8_t hint = 0;
  if (bpf_core_field_exists(inode->i_write_hint)) {
    bpf_probe_read_kernel(&hint, sizeof(hint), &inode->i_write_hint);
  } else if (bpf_core_field_exists(older->i_write_hint)) {
    bpf_probe_read_kernel(&hint, sizeof(hint), &older->i_write_hint);
  }
  return hint;
}

static __always_inline void fill_inode(struct inode *inode, struct FileRecord *record) {
  record->inode = (uint64_t)inode;
  record->inode_number = inode->i_ino;
  record->inode_mode = inode->i_mode;
  record->special_device = inode->i_rdev;
  record->link_count = inode->i_nlink;
  record->device = inode->i_sb->s_dev;
  record->size = inode->i_size;
  record->filesystem_magic = inode->i_sb->s_magic;
  record->mtime_ns = modification_time_ns(inode);
  record->ctime_ns = change_time_ns(inode);
  record->write_hint = write_hint(inode);
  record->reserved = 0;
}

static __always_inline uint32_t seals_of(struct inode *inode, uint64_t magic) {
  if (magic == kTmpfsMagic) return KERNEL_CONTAINER(shmem_inode_info, vfs_inode, inode)->seals;
  if (magic == kHugetlbfsMagic) return KERNEL_CONTAINER(hugetlbfs_inode_info, vfs_inode, inode)->seals;
  return 0;
}

static __always_inline bool is_terminal(struct file *file, uint32_t mode) {
  if ((mode & kFileTypeMask) != kCharacterDevice || !file->private_data) return false;
  return KERNEL(tty_file_private, file->private_data)->file == file;
}

/// Files of the anonymous inode filesystem are told apart by names that only the kernel can give.
static __always_inline uint32_t anonymous_kind(const char *name) {
  switch (*(const uint64_t *)name) {
    case kEventfdName: return kEventfdFile;
    case kTimerfdName: return kTimerfdFile;
    case kSignalfdName: return kSignalfdFile;
    case kEpollName: return kEpollFile;
    case kPidfdName: return kPidfdFile;
    case kInotifyName: return kInotifyFile;
    default: return kOtherFile;
  }
}

static __always_inline uint32_t kind_of(struct file *file, struct FileRecord *record) {
  if (record->filesystem_magic == kAnonymousInodeMagic) return anonymous_kind(record->name);
  if (record->filesystem_magic == kPidfsMagic) return kPidfdFile;
  if (record->filesystem_magic == kSockfsMagic) return kSocketFile;
  if ((record->inode_mode & kFileTypeMask) == kFifo) return kPipeFile;
  return is_terminal(file, record->inode_mode) ? kTerminalFile : kOtherFile;
}

static __always_inline void fill_file(struct file *file, struct FileRecord *record, uint32_t level) {
  record->file = (uint64_t)file;
  record->operations = (uint64_t)file->f_op;
  record->private_data = (uint64_t)file->private_data;
  record->position = file->f_pos;
  record->flags = file->f_flags;
  record->mode = file->f_mode;
  fill_inode(file->f_inode, record);
  struct dentry *dentry = file->f_path.dentry;
  record->dentry = (uint64_t)dentry;
  record->mount = (uint64_t)file->f_path.mnt;
  record->path_signature = path_signature(ADDRESS(file, f_path.dentry));
  __builtin_memset(record->name, 0, sizeof(record->name));
  uint64_t length = ADDRESS(dentry, d_name.hash_len) >> 32;
  bpf_probe_read_kernel(record->name, at_most(length, sizeof(record->name) - 1), dentry->d_name.name);
  fill_owner(file, record, level);
  record->kind = kind_of(file, record);
  record->seals = seals_of(file->f_inode, record->filesystem_magic);
}
#endif
