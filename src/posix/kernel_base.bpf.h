// What the kernel's other structures are made of and refer to: lists, counters, numbers of processes, namespaces, cgroups, timers.
#pragma once

#include "posix/kernel_access.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
  struct list_head *next, *prev;
};
struct hlist_node {
  struct hlist_node *next;
};
struct hlist_head {
  struct hlist_node *first;
};
struct rb_node {
  unsigned long __rb_parent_color;
  struct rb_node *rb_right, *rb_left;
};
struct rb_root {
  struct rb_node *rb_node;
};
struct rb_root_cached {
  struct rb_root rb_root;
  struct rb_node *rb_leftmost;
};
typedef struct {
  int counter;
} atomic_t;
typedef struct {
  int64_t counter;
} atomic64_t;
typedef struct {
  unsigned int val;
} kuid_t;
typedef struct {
  unsigned int val;
} kgid_t;
typedef struct {
  unsigned long sig[1];
} sigset_t;
struct refcount_struct {
  atomic_t refs;
};
typedef struct refcount_struct refcount_t;

struct ns_common {
  unsigned int inum;
};
struct xarray {
  void *xa_head;
};
struct idr {
  struct xarray idr_rt;
};
struct xa_node {
  unsigned char shift;
  void *slots[64];
};
struct user_namespace {
  struct ns_common ns;
};
struct pid_namespace {
  struct idr idr;
  unsigned int level;
  struct ns_common ns;
};
struct upid {
  int nr;
  struct pid_namespace *ns;
};
struct pid {
  unsigned int level;
  struct hlist_head tasks[4];
  struct upid numbers[1];
};
struct uts_namespace {
  struct ns_common ns;
};
struct ipc_namespace {
  struct ns_common ns;
};
struct mnt_namespace {
  struct ns_common ns;
};
struct net {
  struct ns_common ns;
};
struct time_namespace {
  struct ns_common ns;
};
struct cgroup_namespace {
  struct ns_common ns;
};
struct nsproxy {
  struct uts_namespace *uts_ns;
  struct ipc_namespace *ipc_ns;
  struct mnt_namespace *mnt_ns;
  struct pid_namespace *pid_ns_for_children;
  struct net *net_ns;
  struct time_namespace *time_ns;
  struct time_namespace *time_ns_for_children;
  struct cgroup_namespace *cgroup_ns;
};

struct kernfs_node {
  uint64_t id;
};
struct cgroup {
  int level;
  struct kernfs_node *kn;
  struct cgroup *ancestors[1];
};
struct css_set {
  struct cgroup *dfl_cgrp;
};

struct hrtimer_clock_base {
  int clockid;
  int64_t offset;
};
struct timerqueue_node {
  int64_t expires;
};
struct hrtimer {
  struct timerqueue_node node;
  struct hrtimer_clock_base *base;
  uint8_t state;
};

#pragma clang attribute pop
