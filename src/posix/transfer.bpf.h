// Where the kernel keeps the progress of a read or write, on the stack of the thread: its structures, as the running kernel lays them out.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// Sizes, and offsets of fields.
struct KernelLayout {
  uint32_t iterator_size;  ///< struct iov_iter
  uint32_t type_offset, position_offset, buffer_offset, count_offset, segment_count_offset;
  uint32_t buffer_type, vector_type, page_vector_type;
  uint32_t splice_size;  ///< struct splice_desc
  uint32_t splice_total_offset, splice_length_offset, splice_file_offset, splice_position_offset;
  uint32_t pipe_buffer_size, pipe_buffer_length_offset;
  uint32_t sleep_timer_size;  ///< struct process_timer
  uint32_t sleep_timer_expires_offset, sleep_timer_task_offset;
  uint32_t page_structure_size;
  uint32_t reserved;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/kernel.bpf.h"

enum iter_type { ITER_UBUF, ITER_IOVEC, ITER_BVEC };
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
struct splice_desc {
  size_t total_len;
  unsigned int len;
  union {
    struct file *file;
  } u;
  int64_t pos;
};
struct pipe_buffer___layout {
  unsigned int len;
};
struct timer_list {
  unsigned long expires;
};
struct process_timer {
  struct timer_list timer;
  struct task_struct *task;
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
  layout->page_vector_type = bpf_core_enum_value(enum iter_type, ITER_BVEC);
  layout->splice_size = bpf_core_type_size(struct splice_desc);
  layout->splice_total_offset = FIELD_OFFSET(splice_desc, total_len);
  layout->splice_length_offset = FIELD_OFFSET(splice_desc, len);
  layout->splice_file_offset = FIELD_OFFSET(splice_desc, u.file);
  layout->splice_position_offset = FIELD_OFFSET(splice_desc, pos);
  layout->pipe_buffer_size = bpf_core_type_size(struct pipe_buffer___layout);
  layout->pipe_buffer_length_offset = FIELD_OFFSET(pipe_buffer___layout, len);
  layout->sleep_timer_size = bpf_core_type_size(struct process_timer);
  layout->sleep_timer_expires_offset = FIELD_OFFSET(process_timer, timer.expires);
  layout->sleep_timer_task_offset = FIELD_OFFSET(process_timer, task);
  layout->page_structure_size = bpf_core_type_size(struct page);
  layout->reserved = 0;
}
#endif
