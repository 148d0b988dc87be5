// How the kernel side reads kernel memory: typed access at any address, loops, and the kernel functions that programs may call.
#pragma once

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "posix/record.bpf.h"

enum { BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_PERCPU_ARRAY = 6, BPF_F_MMAPABLE = 1 << 10 };

/// What lies at an address, as the kernel type it is. Reads through it never fault: they give 0 where nothing is mapped.
#define KERNEL(type, address) \
  ((struct type *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(struct type)))
/// A field that some kernels or configurations lack; 0 there.
#define FIELD_OR_ZERO(pointer, field) (bpf_core_field_exists((pointer)->field) ? (pointer)->field : 0)
#define FIELD_OFFSET(type, field) __builtin_preserve_field_info(((struct type *)0)->field, BPF_FIELD_BYTE_OFFSET)
/// The `type` whose `member` lies at `address`.
#define KERNEL_CONTAINER(type, member, address) KERNEL(type, (uint64_t)(address) - FIELD_OFFSET(type, member))

extern void *bpf_rdonly_cast(const void *object, uint32_t btf_id) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

struct bpf_iter_num {
  uint64_t opaque[1];
} __attribute__((aligned(8)));
struct bpf_iter_task_vma {
  uint64_t opaque[1];
} __attribute__((aligned(8)));
#ifndef bpf_for
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
#endif
struct bpf_iter_task {
  uint64_t opaque[3];
} __attribute__((aligned(8)));
enum { BPF_TASK_ITER_ALL_THREADS = 1 };
extern int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task, unsigned int flags) __ksym;
extern struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it) __ksym;
extern void bpf_iter_task_destroy(struct bpf_iter_task *it) __ksym;
extern struct task_struct *bpf_task_from_pid(int32_t pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;
extern int bpf_iter_task_vma_new(struct bpf_iter_task_vma *it, struct task_struct *task, uint64_t address) __ksym;
extern struct vm_area_struct *bpf_iter_task_vma_next(struct bpf_iter_task_vma *it) __ksym;
extern void bpf_iter_task_vma_destroy(struct bpf_iter_task_vma *it) __ksym;

/// Runs its body at most `limit` times; the body leaves it with break. The verifier accepts it without unrolling. (Clang emits no type
/// for a function that only a cleanup attribute names: hence the mention of bpf_iter_num_destroy.)
#define REPEAT(limit)                                                                                               \
  for (struct bpf_iter_num repeat __attribute__((aligned(8), cleanup(bpf_iter_num_destroy))),                      \
       *repeat_started __attribute__((unused)) =                                                                   \
           (bpf_iter_num_new(&repeat, 0, (limit)), (void)bpf_iter_num_destroy, (struct bpf_iter_num *)0);          \
       bpf_iter_num_next(&repeat);)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct timespec64 {
  int64_t tv_sec;
  long tv_nsec;
};
#pragma clang attribute pop

/// The word at an address, as a number.
static __always_inline uint64_t word_at(uint64_t address) { return (uint64_t)KERNEL(timespec64, address)->tv_sec; }

/// Has the processor fetch what lies there while other things are done.
static __always_inline void fetch_ahead(uint64_t address) {
  uint64_t word = word_at(address);
  asm volatile("" : : "r"(word));
}

/// A pointer field as a number, free for arithmetic: the verifier follows each step of a typed pointer's, and loses itself in loops.
#define ADDRESS(pointer, field) \
  word_at((uint64_t)(pointer) + __builtin_preserve_field_info((pointer)->field, BPF_FIELD_BYTE_OFFSET))

/// The same of a field that some kernels or configurations lack; 0 there.
#define ADDRESS_OR_ZERO(pointer, field) (bpf_core_field_exists((pointer)->field) ? ADDRESS(pointer, field) : 0)

/// `size`, at most `limit`, in a form that the verifier can follow: the compiler must not compare one copy and use another.
static __always_inline uint64_t at_most(uint64_t size, uint64_t limit) {
  asm volatile("" : "+r"(size));
  return size > limit ? limit : size;
}

/// A pointer that was stored as a number, of which the verifier knows no more than that: what functions verified by themselves take.
static __always_inline uint64_t plain_number(const volatile uint64_t *stored) { return *stored; }

/// The same value, of which the verifier knows nothing any more: else it follows a loop's sums step by step, and gives up.
static __always_inline uint64_t forget(struct CollectRequest *request, uint64_t value) {
  volatile uint64_t *memory = &request->result;
  *memory = value;
  return *memory;
}
