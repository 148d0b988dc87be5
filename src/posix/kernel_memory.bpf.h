// The kernel's structures of memory: address spaces and mappings.
#pragma once

#include "posix/kernel_file.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct seqcount {
  unsigned int sequence;
};
typedef struct seqcount seqcount_t;
struct bpf_array {
  void *pptrs[1];
};
struct percpu_counter {
  int64_t count;
  int32_t *counters;
};
struct mm_struct {
  atomic_t membarrier_state;
  atomic_t mm_users;
  int map_count;
  seqcount_t mm_lock_seq;
  unsigned long mmap_base, task_size;
  unsigned long total_vm, locked_vm, data_vm, exec_vm, stack_vm;
  unsigned long def_flags;
  unsigned long start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
  unsigned long arg_start, arg_end, env_start, env_end;
  unsigned long saved_auxv[1];
  struct file *exe_file;
  struct user_namespace *user_ns;
  unsigned long flags;
};
/// Up to 6.1 each counter was a plain number, and the tasks kept some of it.
struct mm_struct___percpu_counters {
  struct percpu_counter rss_stat[4];
};
/// Up to 6.12 the sequence was a plain number.
struct mm_struct___plain_sequence {
  int mm_lock_seq;
};
typedef struct {
  unsigned long __mm_flags[1];
} mm_flags_t;
struct mm_struct___flags_bitmap {
  mm_flags_t flags;
};
struct ldt_struct;
typedef struct {
  struct ldt_struct *ldt;
  void *vdso;
  uint16_t pkey_allocation_map;
  unsigned long lam_cr3_mask;
} mm_context_t;
struct mm_struct___context {
  mm_context_t context;
};
struct kioctx_table;
struct mm_struct___aio {
  struct kioctx_table *ioctx_table;
};

/// Since 6.16.
struct futex_private_hash {
  unsigned int hash_mask;
  bool custom;
};
struct mm_struct___futex_hash {
  struct futex_private_hash *futex_phash;
};

struct anon_vma_name {
  char name[1];
};
struct vm_userfaultfd_ctx {
  void *ctx;
};
typedef struct {
  unsigned long pgprot;
} pgprot_t;
struct vm_area_struct;
struct vm_special_mapping {
  const char *name;
};
struct vm_operations_struct {
  const char *(*name)(struct vm_area_struct *);
};
struct vm_area_struct {
  unsigned long vm_start, vm_end;
  pgprot_t vm_page_prot;
  unsigned long vm_flags;
  const struct vm_operations_struct *vm_ops;
  unsigned long vm_pgoff;
  struct file *vm_file;
  void *vm_private_data;
  struct anon_vma_name *anon_name;
  struct mempolicy *vm_policy;
  struct vm_userfaultfd_ctx vm_userfaultfd_ctx;
  void *anon_vma;
};

#pragma clang attribute pop
