// System V semaphores: what is undone when a process exits (SEM_UNDO), which no system call tells.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// The adjustments that one undo list (one process, unless CLONE_SYSVSEM shared it) holds for one semaphore set. The tail is an int16_t for
/// each semaphore of the set.
struct SemaphoreUndoRecord {
  struct RecordHeader header;
  uint64_t undo_list;                 ///< ThreadRecord::semaphore_undo
  uint64_t undo;                      ///< identity
  int32_t set;                        ///< semid
  uint32_t count;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/group.bpf.h"
#include "posix/output.bpf.h"

enum { kSemaphoreUndoLimit = 1 << 15, kUndoBytesLimit = 128 << 10, kIpcIndexMask = (1 << 15) - 1, kIpcIndexMaskExtended = (1 << 24) - 1 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct ipc_ids {
  struct idr ipcs_idr;
};
struct ipc_namespace___sets {
  struct ipc_ids ids[3];
};
struct kern_ipc_perm {
  int id;
};
struct sem_array {
  struct kern_ipc_perm sem_perm;
  int sem_nsems;
};
struct sem_undo {
  struct list_head list_proc;
  int semid;
};
/// Up to 6.7 the adjustments lay elsewhere.
struct sem_undo___inside {
  short semadj[1];
};
struct sem_undo___apart {
  short *semadj;
};
struct sem_undo_list {
  struct list_head list_proc;
};
#pragma clang attribute pop

/// Semaphores in a set; its index is the low 15 bits of its id, or the low 24 where ipcmni_extend is on.
static __always_inline uint32_t semaphores_in(uint64_t table, int set) {
  struct sem_array *found = KERNEL(sem_array, table_entry(table, set & kIpcIndexMask));
  if (found->sem_perm.id != set) found = KERNEL(sem_array, table_entry(table, set & kIpcIndexMaskExtended));
  return found->sem_perm.id == set ? found->sem_nsems : 0;
}

static __always_inline uint64_t adjustments_of(uint64_t undo) {
  struct sem_undo___inside *inside = (void *)0;
  if (bpf_core_field_exists(inside->semadj)) return undo + FIELD_OFFSET(sem_undo___inside, semadj);
  return word_at(undo + FIELD_OFFSET(sem_undo___apart, semadj));
}

static __always_inline bool put_undo(struct Pass *pass, uint64_t undo, uint64_t list, uint64_t table) {
  struct SemaphoreUndoRecord *record = begin_record(pass, sizeof(*record), kUndoBytesLimit);
  if (!record) return false;
  record->undo_list = list;
  record->undo = undo;
  record->set = KERNEL(sem_undo, undo)->semid;
  uint64_t size = at_most(semaphores_in(table, record->set) * 2ull, kUndoBytesLimit);
  if (bpf_probe_read_kernel(record + 1, size, (void *)adjustments_of(undo))) size = 0;
  record->count = size / 2;
  finish_record(pass, &record->header, kSemaphoreUndoRecord, sizeof(*record) + size);
  return true;
}

/// The undo list of a task, of which request->next entries have been told. False when the output is full.
static __always_inline bool put_semaphore_undos(struct Pass *pass, uint64_t task_address) {
  struct task_struct *task = KERNEL(task_struct, task_address);
  uint64_t list = ADDRESS(task, sysvsem.undo_list), skip = pass->request->next;
  struct ipc_namespace___sets *ipc = (void *)task->nsproxy->ipc_ns;
  uint64_t table = ADDRESS(ipc, ids[0].ipcs_idr.idr_rt.xa_head);
  uint64_t head = list + FIELD_OFFSET(sem_undo_list, list_proc), at = list ? word_at(head) : 0;
  REPEAT(kSemaphoreUndoLimit) {
    if (!at || at == head) break;
    uint64_t undo = at - FIELD_OFFSET(sem_undo, list_proc);
    at = word_at(at);
    if (skip) {
      skip--;
      continue;
    }
    if (!put_undo(pass, undo, list, table)) return false;
    pass->request->next++;
  }
  return true;
}
#endif
