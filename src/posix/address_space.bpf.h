// Address spaces (mm_struct), and the mappings in them.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

enum AddressSpaceLimits { kAuxiliaryVectorWords = 64 };
#define kUnknownPages (~0ull)
#define kNoFutexSlots (~0u)

/// An address space; keyed by the address of its mm_struct.
struct AddressSpaceRecord {
  struct RecordHeader header;
  uint64_t mm;
  uint64_t user_namespace;            ///< inode number
  uint32_t users, mapping_count;
  uint32_t lock_seq, membarrier_state;
  uint64_t flags;                     ///< MMF_*: the lowest two bits are "dumpable"
  uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
  uint64_t arg_start, arg_end, env_start, env_end;
  uint64_t mmap_base, task_size;
  uint64_t total_pages, locked_pages, data_pages, executable_pages, stack_pages;
  uint64_t own_pages;                 ///< resident or swapped, of anonymous memory and private file mappings; kUnknownPages where the kernel does not tell
  uint64_t default_vm_flags;          ///< mlockall(MCL_FUTURE) shows here
  uint64_t vdso;                      ///< address of [vdso], 0 when it was unmapped
  uint64_t local_descriptor_table;    ///< presence of an LDT
  uint64_t protection_keys;           ///< allocated, one bit each
  uint64_t aio_contexts;              ///< io_setup() rings: presence of a table, contexts may be none
  uint64_t executable_inode, executable_file_inode_address;
  uint64_t executable_signature;      ///< changes when the file or a directory above it is renamed or unlinked
  uint32_t thp_disabled;              ///< PR_SET_THP_DISABLE, as PR_GET_THP_DISABLE tells it: 1, or 3 with PR_THP_DISABLE_EXCEPT_ADVISED
  uint32_t futex_slots;               ///< PR_FUTEX_HASH_SET_SLOTS; kNoFutexSlots where the kernel chose
  uint64_t address_tags;              ///< bits of addresses that are ignored: 0 without linear address masking
  uint64_t auxiliary_vector[kAuxiliaryVectorWords];
};

/// One mapping (vm_area_struct).
struct MappingRecord {
  struct RecordHeader header;
  uint64_t start, end;
  uint64_t flags;                     ///< VM_*
  uint64_t page_offset;               ///< vm_pgoff, in pages
  uint64_t page_protection;           ///< vm_page_prot, the architecture's bits
  uint64_t file, inode;               ///< kernel addresses, 0 when anonymous
  uint64_t inode_number, file_size;
  uint64_t filesystem_magic;
  uint32_t device, mode, link_count, file_flags;
  int64_t mtime_ns;
  uint64_t userfaultfd_context;
  uint64_t mempolicy, operations, anonymous_pages;  ///< addresses; mempolicy and anon_vma 0 when absent
  uint32_t is_special;                ///< [vdso], [vvar] and the like: name in `name`
  uint32_t reserved;
  char name[64];                      ///< of a special or a named anonymous mapping, else empty
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/output.bpf.h"
#include "posix/path.bpf.h"
#include "posix/task.bpf.h"

static __always_inline int64_t modification_time_ns(struct inode *inode) {
  struct inode___timespec *older = (void *)inode;
  if (bpf_core_field_exists(inode->i_mtime_sec)) return inode->i_mtime_sec * 1000000000 + inode->i_mtime_nsec;
  return older->__i_mtime.tv_sec * 1000000000 + older->__i_mtime.tv_nsec;
}
static __always_inline int64_t change_time_ns(struct inode *inode) {
  struct inode___timespec *older = (void *)inode;
  if (bpf_core_field_exists(inode->i_ctime_sec)) return inode->i_ctime_sec * 1000000000 + inode->i_ctime_nsec;
  return older->__i_ctime.tv_sec * 1000000000 + older->__i_ctime.tv_nsec;
}

static __always_inline uint64_t mm_flags(struct mm_struct *mm) {
  struct mm_struct___flags_bitmap *newer = (void *)mm;
  if (bpf_core_field_exists(newer->flags.__mm_flags)) return newer->flags.__mm_flags[0];
  return mm->flags;
}

/// Linux 6.18 gave the flags a bitmap, and in it a new meaning to what had told that the huge zero page was in use.
static __always_inline uint32_t thp_disabled(struct mm_struct *mm) {
  enum { kExceptAdvised = 23, kCompletely = 24 };  // MMF_DISABLE_THP_
  struct mm_struct___flags_bitmap *newer = (void *)mm;
  const uint64_t flags = mm_flags(mm);
  if (flags >> kCompletely & 1) return 1;
  return bpf_core_field_exists(newer->flags.__mm_flags) && (flags >> kExceptAdvised & 1) ? 3 : 0;
}

static __always_inline uint32_t futex_slots(struct mm_struct *mm) {
  struct mm_struct___futex_hash *hashed = (void *)mm;
  if (!bpf_core_field_exists(hashed->futex_phash)) return kNoFutexSlots;
  const uint64_t address = ADDRESS(hashed, futex_phash);
  if (!address) return kNoFutexSlots;
  struct futex_private_hash *hash = KERNEL(futex_private_hash, address);
  if (!FIELD_OR_ZERO(hash, custom)) return kNoFutexSlots;
  // One slot stands for the table of the whole machine.
  return hash->hash_mask ? hash->hash_mask + 1 : 0;
}

/// Of no use but for where it lies: no interface tells how far the variables of each processor lie from what the kernel's pointers to them say.
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, uint64_t);
} per_cpu SEC(".maps");

/// What a percpu_counter comes to, exactly while nobody changes it.
static __always_inline int64_t sum_of(struct CollectRequest *request, struct percpu_counter *counter) {
  enum { kCpuLimit = 8192 };
  const uint64_t map = forget(request, (uint64_t)&per_cpu);
  const uint64_t own_pointer = word_at(map + FIELD_OFFSET(bpf_array, pptrs));
  const uint64_t parts = ADDRESS(counter, counters);
  int64_t sum = counter->count;
  uint32_t cpu = 0;
  REPEAT(kCpuLimit) {
    uint32_t entry = 0;
    void *own = bpf_map_lookup_percpu_elem(&per_cpu, &entry, cpu++);
    if (!own) break;
    int32_t part = 0;
    bpf_probe_read_kernel(&part, sizeof(part), (void *)(parts + forget(request, (uint64_t)own) - own_pointer));
    sum += part;
  }
  return sum;
}

static __noinline uint64_t own_pages(struct CollectRequest *request, uint64_t address) {
  enum { kAnonymousPages = 1, kSwapEntries = 2 };  // MM_ANONPAGES, MM_SWAPENTS
  struct mm_struct___percpu_counters *mm = (void *)KERNEL(mm_struct, address);
  if (!bpf_core_field_exists(mm->rss_stat[0].counters)) return kUnknownPages;
  // A page that goes out to swap in between is counted too little, not twice.
  const int64_t swapped = sum_of(request, &mm->rss_stat[kSwapEntries]);
  return (uint64_t)(swapped + sum_of(request, &mm->rss_stat[kAnonymousPages]));
}

static __always_inline void fill_mm_layout(struct mm_struct *mm, struct AddressSpaceRecord *record) {
  record->start_code = mm->start_code;
  record->end_code = mm->end_code;
  record->start_data = mm->start_data;
  record->end_data = mm->end_data;
  record->start_brk = mm->start_brk;
  record->brk = mm->brk;
  record->start_stack = mm->start_stack;
  record->arg_start = mm->arg_start;
  record->arg_end = mm->arg_end;
  record->env_start = mm->env_start;
  record->env_end = mm->env_end;
  record->mmap_base = mm->mmap_base;
  record->task_size = mm->task_size;
  record->total_pages = mm->total_vm;
  record->locked_pages = mm->locked_vm;
  record->data_pages = mm->data_vm;
  record->executable_pages = mm->exec_vm;
  record->stack_pages = mm->stack_vm;
  record->default_vm_flags = mm->def_flags;
  uint32_t size = bpf_core_field_size(mm->saved_auxv);
  if (size > sizeof(record->auxiliary_vector)) size = sizeof(record->auxiliary_vector);
  __builtin_memset(record->auxiliary_vector, 0, sizeof(record->auxiliary_vector));
  bpf_probe_read_kernel(record->auxiliary_vector, size, &mm->saved_auxv);
}

static __always_inline void fill_executable(struct mm_struct *mm, struct AddressSpaceRecord *record) {
  struct file *file = mm->exe_file;
  struct inode *inode = file ? file->f_inode : NULL;
  record->executable_file_inode_address = (uint64_t)inode;
  record->executable_inode = inode ? inode->i_ino : 0;
  record->executable_signature = file ? path_signature(ADDRESS(file, f_path.dentry)) : 0;
}

static __noinline int put_address_space(struct Pass *pass, uint64_t task_address) {
  struct task_struct *task = KERNEL(task_struct, task_address);
  uint64_t address = ADDRESS(task, mm);
  if (!address || was_seen(pass, address)) return 1;
  struct mm_struct *mm = KERNEL(mm_struct, address);
  struct AddressSpaceRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return 0;
  record->mm = address;
  record->user_namespace = mm->user_ns->ns.inum;
  record->users = mm->mm_users.counter;
  record->mapping_count = mm->map_count;
  record->lock_seq = mm_sequence(mm);
  record->membarrier_state = FIELD_OR_ZERO(mm, membarrier_state.counter);
  record->flags = mm_flags(mm);
  record->thp_disabled = thp_disabled(mm);
  record->futex_slots = futex_slots(mm);
  fill_mm_layout(mm, record);
  record->own_pages = own_pages(pass->request, address);
  fill_executable(mm, record);
  struct mm_struct___context *context = (void *)mm;
  record->vdso = (uint64_t)FIELD_OR_ZERO(context, context.vdso);
  record->local_descriptor_table = (uint64_t)FIELD_OR_ZERO(context, context.ldt);
  record->address_tags = FIELD_OR_ZERO(context, context.lam_cr3_mask);
  record->protection_keys = (uint64_t)FIELD_OR_ZERO(context, context.pkey_allocation_map);
  struct mm_struct___aio *aio = (void *)mm;
  record->aio_contexts = (uint64_t)FIELD_OR_ZERO(aio, ioctx_table);
  finish_record(pass, &record->header, kAddressSpaceRecord, sizeof(*record));
  mark_seen(pass, address);
  return 1;
}

static __always_inline void fill_mapped_file(struct file *file, struct MappingRecord *record) {
  struct inode *inode = file ? file->f_inode : NULL;
  record->file = (uint64_t)file;
  record->inode = (uint64_t)inode;
  record->inode_number = inode ? inode->i_ino : 0;
  record->file_size = inode ? inode->i_size : 0;
  record->filesystem_magic = inode ? inode->i_sb->s_magic : 0;
  record->device = inode ? inode->i_sb->s_dev : 0;
  record->mode = inode ? inode->i_mode : 0;
  record->link_count = inode ? inode->i_nlink : 0;
  record->file_flags = file ? file->f_flags : 0;
  record->mtime_ns = inode ? modification_time_ns(inode) : 0;
}

/// [vdso] and its kin carry a vm_special_mapping, and no other mapping without a file has operations and private data.
static __always_inline void fill_mapping_name(struct vm_area_struct *vma, struct MappingRecord *record) {
  record->is_special = 0;
  record->name[0] = 0;
  if (vma->vm_file) return;
  const char *name = NULL;
  if (vma->vm_ops) {
    struct vm_special_mapping *special = KERNEL(vm_special_mapping, vma->vm_private_data);
    if (vma->vm_private_data) name = special->name;
    record->is_special = name != NULL;
  } else if (bpf_core_field_exists(vma->anon_name)) {
    struct anon_vma_name *anonymous = vma->anon_name;
    if (anonymous) name = (const char *)anonymous + FIELD_OFFSET(anon_vma_name, name);
  }
  if (name) bpf_probe_read_kernel_str(record->name, sizeof(record->name), name);
}

static __always_inline bool put_mapping(struct Pass *pass, struct vm_area_struct *vma) {
  struct MappingRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  record->start = vma->vm_start;
  record->end = vma->vm_end;
  record->flags = vma->vm_flags;
  record->page_offset = vma->vm_pgoff;
  record->page_protection = vma->vm_page_prot.pgprot;
  fill_mapped_file(vma->vm_file, record);
  record->userfaultfd_context = (uint64_t)FIELD_OR_ZERO(vma, vm_userfaultfd_ctx.ctx);
  record->mempolicy = (uint64_t)FIELD_OR_ZERO(vma, vm_policy);
  record->operations = (uint64_t)vma->vm_ops;
  record->anonymous_pages = (uint64_t)vma->anon_vma;
  record->reserved = 0;
  fill_mapping_name(vma, record);
  finish_record(pass, &record->header, kMappingRecord, sizeof(*record));
  return true;
}

/// The walk leaves out without a word what another thread (khugepaged, say) has locked to change it: what was read counts only if all of it
/// was there and nothing changed meanwhile. (In kernels that lock each mapping by itself there, as 6.18.44 does.)
static __always_inline void put_mappings(struct Pass *pass, struct task_struct *task) {
  uint64_t address = ADDRESS(task, mm);
  if (!address) {
    pass->request->status = kPassNoTask;  // on its way out
    return;
  }
  struct mm_struct *mm = KERNEL(mm_struct, address);
  if (pass->request->next == 0) pass->request->result = mm_sequence(mm);
  struct bpf_iter_task_vma vmas;
  if (bpf_iter_task_vma_new(&vmas, task, pass->request->next)) {
    pass->request->status = kPassUnreadable;
  } else {
    REPEAT(kMappingsPerPassLimit) {
      struct vm_area_struct *vma = bpf_iter_task_vma_next(&vmas);
      if (!vma) {
        if (pass->request->size != (uint64_t)mm->map_count) pass->request->status = kPassUnreadable;
        break;
      }
      struct vm_area_struct *area = KERNEL(vm_area_struct, vma);
      if (!put_mapping(pass, area)) {
        pass->request->next = area->vm_start;
        break;
      }
      ++pass->request->size;
    }
  }
  bpf_iter_task_vma_destroy(&vmas);
  if (mm_sequence(mm) != pass->request->result) pass->request->status = kPassUnreadable;
}
#endif
