// Credentials, namespaces and the filesystem context: what tasks refer to and often share.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

enum CredentialsLimits { kSecurityWords = 16 };

/// Credentials; keyed by the address of struct cred. IDs are those of the initial user namespace. The tail is the supplementary groups,
/// group_count numbers of 32 bits.
struct CredentialsRecord {
  struct RecordHeader header;
  uint64_t credentials;
  uint32_t uid, gid, suid, sgid, euid, egid, fsuid, fsgid;
  uint32_t securebits;
  uint32_t user_namespace;  ///< inode number
  uint64_t inheritable, permitted, effective, bounding, ambient;
  uint64_t session_keyring, process_keyring, thread_keyring;  ///< presence
  uint32_t group_count;
  uint32_t reserved;
  uint64_t security[kSecurityWords];  ///< what the security modules keep here; which word is whose, is the boot's secret
};

/// The namespaces of a task; keyed by the address of its nsproxy. All are inode numbers.
struct NamespacesRecord {
  struct RecordHeader header;
  uint64_t nsproxy;
  uint32_t mount, uts, ipc, network, cgroup, time, time_for_children, pid_for_children;
};

/// Root, current directory and umask; keyed by the address of fs_struct.
struct FileSystemContextRecord {
  struct RecordHeader header;
  uint64_t fs;
  uint32_t umask, users;
  uint64_t root_dentry, root_mount, directory_dentry, directory_mount;  ///< identities
  uint64_t root_signature, directory_signature;  ///< change when one of them or a directory above it is renamed or removed
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/output.bpf.h"
#include "posix/path.bpf.h"

enum { kGroupLimit = 65536, kGroupBytesLimit = kGroupLimit * 4 };

static __always_inline void fill_credentials(const struct cred *cred, struct CredentialsRecord *record) {
  record->credentials = (uint64_t)cred;
  record->uid = cred->uid.val;
  record->gid = cred->gid.val;
  record->suid = cred->suid.val;
  record->sgid = cred->sgid.val;
  record->euid = cred->euid.val;
  record->egid = cred->egid.val;
  record->fsuid = cred->fsuid.val;
  record->fsgid = cred->fsgid.val;
  record->securebits = cred->securebits;
  record->user_namespace = cred->user_ns->ns.inum;
  record->inheritable = cred->cap_inheritable.val;
  record->permitted = cred->cap_permitted.val;
  record->effective = cred->cap_effective.val;
  record->bounding = cred->cap_bset.val;
  record->ambient = cred->cap_ambient.val;
  record->session_keyring = (uint64_t)FIELD_OR_ZERO(cred, session_keyring);
  record->process_keyring = (uint64_t)FIELD_OR_ZERO(cred, process_keyring);
  record->thread_keyring = (uint64_t)FIELD_OR_ZERO(cred, thread_keyring);
  record->reserved = 0;
  if (bpf_probe_read_kernel(record->security, sizeof(record->security), cred->security))
    __builtin_memset(record->security, 0, sizeof(record->security));
}

static __noinline int put_credentials(struct Pass *pass, uint64_t cred_address) {
  if (!cred_address || was_seen(pass, cred_address)) return 1;
  const struct cred *cred = KERNEL(cred, cred_address);
  struct CredentialsRecord *record = begin_record(pass, sizeof(*record), kGroupBytesLimit);
  if (!record) return 0;
  fill_credentials(cred, record);
  struct group_info *groups = cred->group_info;
  uint64_t size = at_most(groups ? (uint64_t)groups->ngroups * 4 : 0, kGroupBytesLimit);
  if (bpf_probe_read_kernel(record + 1, size, (void *)((uint64_t)groups + FIELD_OFFSET(group_info, gid)))) size = 0;
  record->group_count = size / 4;
  finish_record(pass, &record->header, kCredentialsRecord, sizeof(*record) + size);
  mark_seen(pass, cred_address);
  return 1;
}

static __noinline int put_namespaces(struct Pass *pass, uint64_t nsproxy_address) {
  if (!nsproxy_address || was_seen(pass, nsproxy_address)) return 1;
  struct nsproxy *nsproxy = KERNEL(nsproxy, nsproxy_address);
  struct NamespacesRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return 0;
  record->nsproxy = nsproxy_address;
  record->mount = nsproxy->mnt_ns->ns.inum;
  record->uts = nsproxy->uts_ns->ns.inum;
  record->ipc = nsproxy->ipc_ns ? nsproxy->ipc_ns->ns.inum : 0;
  record->network = nsproxy->net_ns->ns.inum;
  record->cgroup = nsproxy->cgroup_ns->ns.inum;
  record->time = nsproxy->time_ns->ns.inum;
  record->time_for_children = nsproxy->time_ns_for_children->ns.inum;
  record->pid_for_children = nsproxy->pid_ns_for_children->ns.inum;
  finish_record(pass, &record->header, kNamespacesRecord, sizeof(*record));
  mark_seen(pass, nsproxy_address);
  return 1;
}

static __noinline int put_file_system_context(struct Pass *pass, uint64_t fs_address) {
  if (!fs_address || was_seen(pass, fs_address)) return 1;
  struct fs_struct *fs = KERNEL(fs_struct, fs_address);
  struct FileSystemContextRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return 0;
  record->fs = fs_address;
  record->umask = fs->umask;
  record->users = fs->users;
  record->root_dentry = (uint64_t)fs->root.dentry;
  record->root_mount = (uint64_t)fs->root.mnt;
  record->directory_dentry = (uint64_t)fs->pwd.dentry;
  record->directory_mount = (uint64_t)fs->pwd.mnt;
  record->root_signature = path_signature(ADDRESS(fs, root.dentry));
  record->directory_signature = path_signature(ADDRESS(fs, pwd.dentry));
  finish_record(pass, &record->header, kFileSystemContextRecord, sizeof(*record));
  mark_seen(pass, fs_address);
  return 1;
}
#endif
