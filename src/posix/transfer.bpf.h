// Where the kernel keeps the progress of a read or write: struct iov_iter, as the running kernel lays it out.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// Offsets of the fields of struct iov_iter, and the numbers of the two types that user memory has.
struct KernelLayout {
  uint32_t iterator_size;
  uint32_t type_offset, position_offset, buffer_offset, count_offset, segment_count_offset;
  uint32_t buffer_type, vector_type;
  uint32_t page_structure_size;
  uint32_t reserved;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/kernel.bpf.h"

enum iter_type { ITER_UBUF, ITER_IOVEC };
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct page {
  unsigned long flags;
};
struct iov_iter {
  uint8_t iter_type;
  size_t iov_offset;
  void *ubuf;
  size_t count;
  unsigned long nr_segs;
};
#pragma clang attribute pop

static __always_inline void describe_layout(struct KernelLayout *layout) {
  layout->iterator_size = bpf_core_type_size(struct iov_iter);
  layout->type_offset = FIELD_OFFSET(iov_iter, iter_type);
  layout->position_offset = FIELD_OFFSET(iov_iter, iov_offset);
  layout->buffer_offset = FIELD_OFFSET(iov_iter, ubuf);
  layout->count_offset = FIELD_OFFSET(iov_iter, count);
  layout->segment_count_offset = FIELD_OFFSET(iov_iter, nr_segs);
  layout->buffer_type = bpf_core_enum_value(enum iter_type, ITER_UBUF);
  layout->vector_type = bpf_core_enum_value(enum iter_type, ITER_IOVEC);
  layout->page_structure_size = bpf_core_type_size(struct page);
  layout->reserved = 0;
}
#endif
