// How the tasks of a group are found: along the number table of a PID namespace, without a walk over the whole machine. Kernel side only.
#pragma once

#include "posix/cgroup.bpf.h"
#include "posix/kernel.bpf.h"
#include "posix/record.bpf.h"
#include "posix/task.bpf.h"

enum { kPidTableLevels = 6, kPidTableShift = 6, kPidTableMask = 63, kPidLimit = 1 << 22 };

/// A place in the number table (an XArray of struct pid).
struct PidCursor {
  uint64_t root;   ///< encoded pointer to the top node
  uint64_t leaf;   ///< node whose slots hold struct pid, 0 when it is to be looked up
  uint64_t number; ///< next number to look at
};

static __always_inline struct PidCursor pid_cursor(struct pid_namespace *ns, uint64_t from) {
  struct PidCursor cursor = {.root = ADDRESS(ns, idr.idr_rt.xa_head), .number = from};
  return cursor;
}

static __always_inline bool is_node(uint64_t entry) { return (entry & 3) == 2 && entry > 4096; }
static __always_inline uint64_t slot_of(uint64_t node, uint64_t slot) {
  return word_at(node + FIELD_OFFSET(xa_node, slots) + (slot & kPidTableMask) * 8);
}

/// Descends to the leaf of cursor->number, or moves the number past the range that is empty. False at the end of the table.
static __always_inline bool find_leaf(struct PidCursor *cursor) {
  uint64_t entry = cursor->root;
  if (!is_node(entry)) return false;
  if (cursor->number >> (KERNEL(xa_node, entry - 2)->shift + kPidTableShift)) return false;
  REPEAT(kPidTableLevels) {
    uint64_t node = entry - 2;
    uint32_t shift = KERNEL(xa_node, node)->shift & 63;
    if (!shift) {
      cursor->leaf = node;
      break;
    }
    entry = slot_of(node, cursor->number >> shift);
    if (!is_node(entry)) {
      cursor->number = ((cursor->number >> shift) + 1) << shift;
      break;
    }
  }
  return true;
}

/// The entry with index `index` in an XArray (or IDR) with this top entry; 0 without.
static __always_inline uint64_t table_entry(uint64_t root, uint64_t index) {
  struct PidCursor cursor = {.root = root, .number = index};
  if (!is_node(root)) return index ? 0 : root;
  if (!find_leaf(&cursor) || !cursor.leaf) return 0;
  return slot_of(cursor.leaf, index);
}

/// The task that the entry of a number stands for, as an address; 0 for a number that only names a process group or session.
static __always_inline uint64_t task_of_pid(uint64_t pid_address) {
  if (!pid_address || (pid_address & 3)) return 0;
  struct pid *pid = KERNEL(pid, pid_address);
  uint64_t first = ADDRESS(pid, tasks[0].first);
  return first ? first - FIELD_OFFSET(task_struct, pid_links) : 0;
}

/// The task with number `number` in `ns`, as an address, or 0.
static __always_inline uint64_t find_task(struct pid_namespace *ns, uint64_t number) {
  return task_of_pid(table_entry(ADDRESS(ns, idr.idr_rt.xa_head), number));
}

/// The caller's own PID namespace.
static __always_inline struct pid_namespace *host_namespace(void) {
  struct pid *self = KERNEL(task_struct, bpf_get_current_task())->thread_pid;
  return KERNEL(pid_namespace, pid_namespace_at(self, self->level));
}

/// The namespace whose numbers are walked: the group's own, or the caller's when a cgroup says who belongs to the group.
static __always_inline struct pid_namespace *walked_namespace(struct CollectRequest *request) {
  if (request->filter == kFilterCgroup) return host_namespace();
  return KERNEL(pid_namespace, request->namespace_address);
}

/// Calls visit(context, task) for every task numbered in `ns` from request->next on, until it returns false; request->next is then that
/// task's number. (The number lives in the request, not in a register: the verifier would otherwise follow it value by value.)
#define VISIT_TASKS(request, ns, visit, context)                                       \
  do {                                                                                 \
    struct PidCursor cursor = pid_cursor(ns, (request)->next);                         \
    REPEAT(kPidLimit) {                                                                \
      if (!cursor.leaf) {                                                              \
        if (!find_leaf(&cursor)) break;                                                \
        if (!cursor.leaf) continue;                                                    \
      }                                                                                \
      uint64_t task = task_of_pid(slot_of(cursor.leaf, cursor.number));                \
      if (task && !visit(context, task)) break;                                        \
      cursor.number = forget(request, cursor.number + 1);                              \
      if (!(cursor.number & kPidTableMask)) cursor.leaf = 0;                           \
    }                                                                                  \
    (request)->next = cursor.number;                                                   \
  } while (0)

static __always_inline bool is_member(struct CollectRequest *request, uint64_t task) {
  return request->filter != kFilterCgroup || in_cgroup(KERNEL(task_struct, task), request->cgroup_id, request->cgroup_level);
}
