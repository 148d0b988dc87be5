// Which cgroup of version 2 a task is in. Kernel side only.
#pragma once

#include "posix/kernel.bpf.h"

enum { kCgroupDepthLimit = 256 };

static __always_inline uint64_t cgroup_id_at(uint64_t cgroup, uint32_t level) {
  uint64_t ancestors = cgroup + FIELD_OFFSET(cgroup, ancestors);
  return KERNEL(cgroup, word_at(ancestors + (uint64_t)level * 8))->kn->id;
}

/// Whether the task is in the cgroup with this id, which lies at this depth, or in one below.
static __always_inline bool in_cgroup(struct task_struct *task, uint64_t cgroup_id, uint32_t cgroup_level) {
  uint64_t cgroup = ADDRESS(task->cgroups, dfl_cgrp);
  if ((uint32_t)KERNEL(cgroup, cgroup)->level < cgroup_level) return false;
  return cgroup_id_at(cgroup, cgroup_level) == cgroup_id;
}

/// The depth at which a task's cgroup, or one above it, has the id asked for; -1 when none has.
static __always_inline int cgroup_level_of(struct task_struct *task, uint64_t cgroup_id) {
  uint64_t cgroup = ADDRESS(task->cgroups, dfl_cgrp);
  int level = KERNEL(cgroup, cgroup)->level;
  REPEAT(kCgroupDepthLimit) {
    if (level < 0 || cgroup_id_at(cgroup, level) == cgroup_id) break;
    level--;
  }
  return level;
}
