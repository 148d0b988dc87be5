// Where a pass puts its records, and what it has already put there. Kernel side only.
#pragma once

#include "posix/kernel.bpf.h"
#include "posix/record.bpf.h"

struct OutputBytes {
  uint8_t bytes[kOutputCapacity];
};
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct OutputBytes);
} output SEC(".maps");

struct Seen {
  uint64_t address;
  uint64_t generation;
};
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, kSeenSlots);
  __type(key, uint32_t);
  __type(value, struct Seen);
} seen SEC(".maps");

/// One pass: its request and the output's memory.
struct Pass {
  struct CollectRequest *request;
  uint8_t *bytes;
};

static __always_inline bool begin_pass(struct Pass *pass, struct CollectRequest *request) {
  uint32_t zero = 0;
  pass->request = request;
  struct OutputBytes *bytes = bpf_map_lookup_elem(&output, &zero);
  if (!bytes) return false;
  pass->bytes = bytes->bytes;
  request->used = 0;
  request->status = kPassDone;
  if (request->monotonic_ns == 0) request->monotonic_ns = bpf_ktime_get_ns();
  return true;
}

/// Room for a record of `size` bytes plus a tail of at most `tail_limit` (both constants); null, and the pass is to be continued, when
/// there is none. The room is taken by finish_record.
static __always_inline void *begin_record(struct Pass *pass, uint32_t size, uint32_t tail_limit) {
  uint64_t at = pass->request->used;
  if (at > kOutputCapacity - size - tail_limit) {
    pass->request->status = kPassMore;
    return NULL;
  }
  return pass->bytes + at;
}

/// Completes the record that begin_record gave.
static __always_inline void finish_record(struct Pass *pass, struct RecordHeader *header, uint32_t kind, uint32_t size) {
  size = (size + 7) & ~7u;
  header->kind = kind;
  header->size = size;
  pass->request->used += size;
}

static __always_inline struct Seen *seen_slot(uint64_t address) {
  uint32_t slot = (uint32_t)((address >> 4) * 0x9E3779B97F4A7C15ull >> 40) % kSeenSlots;
  return bpf_map_lookup_elem(&seen, &slot);
}

/// Whether a kernel object has been told in this collection. One that loses its place in the table to another is told again, in full: the
/// reader drops repetitions.
static __always_inline bool was_seen(struct Pass *pass, uint64_t address) {
  struct Seen *entry = seen_slot(address);
  return entry && entry->address == address && entry->generation == pass->request->generation;
}

static __always_inline void mark_seen(struct Pass *pass, uint64_t address) {
  struct Seen *entry = seen_slot(address);
  if (!entry) return;
  entry->address = address;
  entry->generation = pass->request->generation;
}
