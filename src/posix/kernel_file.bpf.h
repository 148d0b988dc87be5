// The kernel's structures of files: paths, inodes, open files, descriptor tables, directories of a process.
#pragma once

#include "posix/kernel_base.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct dentry;
struct vfsmount;
struct path {
  struct vfsmount *mnt;
  struct dentry *dentry;
};
struct fs_struct {
  int users;
  int umask;
  struct path root, pwd;
};
struct qstr {
  uint64_t hash_len;
  uint32_t len;
  const unsigned char *name;
};
struct inode;
struct hlist_bl_node {
  struct hlist_bl_node **pprev;
};
struct dentry {
  struct hlist_bl_node d_hash;
  struct dentry *d_parent;
  struct qstr d_name;
  struct inode *d_inode;
};
struct super_block {
  uint32_t s_dev;
  unsigned long s_magic;
};
struct file_lock_context;
struct pipe_inode_info;
enum rw_hint { WRITE_LIFE_NOT_SET };
struct inode {
  unsigned short i_mode;
  kuid_t i_uid;
  kgid_t i_gid;
  struct super_block *i_sb;
  unsigned long i_ino;
  unsigned int i_nlink;
  uint32_t i_rdev;
  int64_t i_size;
  int64_t i_mtime_sec, i_ctime_sec;
  uint32_t i_mtime_nsec, i_ctime_nsec;
  struct file_lock_context *i_flctx;
  struct pipe_inode_info *i_pipe;
  enum rw_hint i_write_hint;
};
/// Up to 6.8 the hint was a plain number.
struct inode___plain_hint {
  uint8_t i_write_hint;
};
/// Up to 6.10 the times were structures.
struct inode___timespec {
  struct timespec64 __i_mtime, __i_ctime;
};
enum pid_type { PIDTYPE_PID };
struct fown_struct {
  struct pid *pid;
  enum pid_type pid_type;
  kuid_t uid, euid;
  int signum;
};
struct file_operations;
struct file {
  unsigned int f_mode;
  const struct file_operations *f_op;
  void *private_data;
  struct inode *f_inode;
  unsigned int f_flags;
  struct fown_struct *f_owner;
  struct path f_path;
  int64_t f_pos;
};
/// Up to 6.11 the owner lay inside the file.
struct file___owner_inside {
  struct fown_struct f_owner;
};
struct fdtable {
  unsigned int max_fds;
  struct file **fd;
  unsigned long *close_on_exec;
};
struct files_struct {
  atomic_t count;
  struct fdtable *fdt;
};

#pragma clang attribute pop
