// Pipes and FIFOs.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// A pipe; keyed by its inode's address, which both ends share.
struct PipeRecord {
  struct RecordHeader header;
  uint64_t inode;
  uint64_t pipe;                      ///< identity of the pipe_inode_info
  uint32_t head, tail;                ///< buffers in use are those from tail up to head
  uint32_t ring_size, max_usage;      ///< in buffers; the latter is what F_SETPIPE_SZ set
  uint32_t readers, writers, files;
  uint32_t reserved;
};
/// One buffer that holds data, in the order of reading. The tail is the data, as long as the request says where pages lie.
struct PipeBufferRecord {
  struct RecordHeader header;
  uint64_t inode;
  uint64_t index;                     ///< grows from PipeRecord::tail to head
  uint64_t page, operations;
  uint32_t offset, length;
  uint32_t flags;                     ///< PIPE_BUF_FLAG_*: 8 is a packet (O_DIRECT)
  uint32_t reserved;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/output.bpf.h"
#include "posix/page.bpf.h"

enum { kPipeBufferLimit = 16384, kPipeBufferBytesLimit = 64 << 10 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pipe_buffer {
  struct page *page;
  unsigned int offset, len;
  const struct pipe_buf_operations *ops;
  unsigned int flags;
};
struct pipe_inode_info {
  unsigned int head, tail, max_usage, ring_size, readers, writers, files;
  struct pipe_buffer *bufs;
};
#pragma clang attribute pop

static __always_inline bool put_pipe_buffer(struct Pass *pass, struct pipe_buffer *buffer, uint64_t inode, uint32_t index) {
  struct PipeBufferRecord *record = begin_record(pass, sizeof(*record), kPipeBufferBytesLimit);
  if (!record) return false;
  record->inode = inode;
  record->index = index;
  record->page = ADDRESS(buffer, page);
  record->operations = (uint64_t)buffer->ops;
  record->offset = buffer->offset;
  record->length = buffer->len;
  record->flags = buffer->flags;
  record->reserved = 0;
  uint64_t size = pass->request->page_contents ? at_most(record->length, kPipeBufferBytesLimit) : 0;
  uint64_t data = contents_of_page(pass->request, ADDRESS(buffer, page)) + record->offset;
  if (bpf_probe_read_kernel(record + 1, size, (void *)data)) size = 0;
  finish_record(pass, &record->header, kPipeBufferRecord, sizeof(*record) + size);
  return true;
}

static __always_inline bool put_pipe_buffers(struct Pass *pass, struct pipe_inode_info *pipe, uint64_t inode) {
  uint64_t buffers = ADDRESS(pipe, bufs);
  uint32_t head = pipe->head, at = pipe->tail, mask = pipe->ring_size - 1;
  REPEAT(kPipeBufferLimit) {
    if (at == head) break;
    uint64_t address = buffers + (uint64_t)(at & mask) * bpf_core_type_size(struct pipe_buffer);
    if (!put_pipe_buffer(pass, KERNEL(pipe_buffer, address), inode, at)) return false;
    at++;
  }
  return true;
}

/// The pipe behind a file, once. False when the output is full.
static __always_inline bool put_pipe(struct Pass *pass, struct file *file) {
  uint64_t inode = ADDRESS(file, f_inode);
  if (was_seen(pass, inode)) return true;
  struct pipe_inode_info *pipe = KERNEL(inode, inode)->i_pipe;
  struct PipeRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  record->inode = inode;
  record->pipe = (uint64_t)pipe;
  record->head = pipe->head;
  record->tail = pipe->tail;
  record->ring_size = pipe->ring_size;
  record->max_usage = pipe->max_usage;
  record->readers = pipe->readers;
  record->writers = pipe->writers;
  record->files = pipe->files;
  record->reserved = 0;
  finish_record(pass, &record->header, kPipeRecord, sizeof(*record));
  if (!put_pipe_buffers(pass, pipe, inode)) return false;
  mark_seen(pass, inode);
  return true;
}
#endif
