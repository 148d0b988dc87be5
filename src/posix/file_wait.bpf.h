// System calls that wait for a pipe, a socket or a terminal: what a thread in one waits for, and how far the call has come.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// What a stop would do to a thread that is in such a call.
enum FileWaitKind {
  kNoFileWait,        ///< it is in none
  kRestartedWait,     ///< the kernel takes the call up again by itself
  kMendedWait,        ///< it may return short, and can be made to go on as if nothing had been
  kDelicateWait,      ///< the same, but not under all circumstances
};

/// What a thread in such a call waits with.
struct FileWait {
  uint64_t now_ticks;           ///< the kernel's jiffies
  uint64_t timeout_ticks;       ///< SO_RCVTIMEO or SO_SNDTIMEO, whichever the call obeys; 0 without
  uint64_t file;                ///< identity of the open file
  uint64_t source_position;     ///< sendfile(2): of the file that it reads, as the file was left when the call began
  uint64_t pipe_buffers;        ///< sendfile(2): the array of the pipe that holds what is read and not sent yet; 0 without
  uint32_t pipe_head, pipe_tail, pipe_ring_size, reserved;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/output.bpf.h"
#include "posix/pipe.bpf.h"

enum {
  kFileTypeMask = 0170000, kFifo = 0010000, kCharacterDevice = 0020000, kSocketInode = 0140000,
  kNonBlocking = 04000,
  kWaitForAll = 0x100,  // MSG_WAITALL
  kPipeAtom = 4096,     // PIPE_BUF: what is not longer is never half done in a pipe
  kWriteCall = 1, kWritevCall = 20, kSendfileCall = 40, kSendtoCall = 44, kRecvfromCall = 45, kSendmsgCall = 46, kRecvmsgCall = 47,
  kRecvmmsgCall = 299, kSendmmsgCall = 307,
};
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct___splicing {
  struct pipe_inode_info *splice_pipe;
};
struct sock___timeouts {
  long sk_rcvtimeo, sk_sndtimeo;
};
struct socket___waited_for {
  struct sock___timeouts *sk;
};
#pragma clang attribute pop

enum WaitDirection { kWaitsForNoFile, kWaitsToReceive, kWaitsToSend };

/// Of a system call whose first argument is the descriptor that it waits for.
static __always_inline enum WaitDirection wait_direction(uint64_t call) {
  switch (call) {
    // read, readv, accept, recvfrom, recvmsg, splice, accept4, recvmmsg, preadv2
    case 0: case 19: case 43: case 45: case 47: case 275: case 288: case 299: case 327:
      return kWaitsToReceive;
    // write, writev, sendfile, connect, sendto, sendmsg, sendmmsg, pwritev2
    case 1: case 20: case 40: case 42: case 44: case 46: case 307: case 328:
      return kWaitsToSend;
    default: return kWaitsForNoFile;
  }
}

/// The open file behind a descriptor of the task; 0 without.
static __always_inline uint64_t file_of(struct task_struct *task, uint32_t descriptor) {
  struct files_struct *files = task->files;
  if (!files) return 0;
  struct fdtable *table = files->fdt;
  return descriptor < table->max_fds ? word_at(ADDRESS(table, fd) + (uint64_t)descriptor * 8) : 0;
}

static __always_inline uint64_t timeout_of_socket(struct file *file, enum WaitDirection direction) {
  if ((file->f_inode->i_mode & kFileTypeMask) != kSocketInode) return 0;
  uint64_t sock = word_at(ADDRESS(file, private_data) + FIELD_OFFSET(socket___waited_for, sk));
  if (!sock) return 0;
  uint64_t offset = direction == kWaitsToReceive ? FIELD_OFFSET(sock___timeouts, sk_rcvtimeo) : FIELD_OFFSET(sock___timeouts, sk_sndtimeo);
  long timeout = word_at(sock + offset);
  return timeout == (long)(~0ul >> 1) ? 0 : timeout;
}

/// Of a task in a call with these registers. (Not static: the verifier then looks at it once, not anew for each way through the loop around it,
/// which takes half a second.)
__noinline int file_wait_kind(uint64_t task_address, uint64_t call, uint64_t descriptor, uint64_t third, uint64_t fourth) {
  struct task_struct *task = KERNEL(task_struct, task_address);
  enum WaitDirection direction = wait_direction(call);
  uint64_t address = direction == kWaitsForNoFile ? 0 : file_of(task, descriptor);
  if (!address) return kNoFileWait;
  struct file *file = KERNEL(file, address);
  uint32_t type = file->f_inode->i_mode & kFileTypeMask;
  if ((file->f_flags & kNonBlocking) || (type != kFifo && type != kSocketInode && type != kCharacterDevice)) return kNoFileWait;
  if (timeout_of_socket(file, direction)) return kDelicateWait;
  switch (call) {
    case kRecvfromCall: return fourth & kWaitForAll ? kDelicateWait : kRestartedWait;
    case kRecvmsgCall: return third & kWaitForAll ? kDelicateWait : kRestartedWait;
    case kSendfileCall: case kRecvmmsgCall: case kSendmmsgCall: return kDelicateWait;
    case kWriteCall: case kSendtoCall: return third <= (type == kFifo ? kPipeAtom : 1) ? kRestartedWait : kMendedWait;
    case kWritevCall: case kSendmsgCall: return kMendedWait;
    default: return kRestartedWait;
  }
}

__noinline int describe_file_wait(uint64_t task_address, uint64_t call, uint64_t descriptor, uint64_t source_descriptor, struct FileWait *wait) {
  if (!wait) return 0;
  struct task_struct *task = KERNEL(task_struct, task_address);
  enum WaitDirection direction = wait_direction(call);
  wait->now_ticks = bpf_jiffies64();
  wait->file = file_of(task, descriptor);
  wait->timeout_ticks = wait->file ? timeout_of_socket(KERNEL(file, wait->file), direction) : 0;
  wait->source_position = wait->pipe_buffers = 0;
  wait->pipe_head = wait->pipe_tail = wait->pipe_ring_size = wait->reserved = 0;
  uint64_t source = call == kSendfileCall ? file_of(task, source_descriptor) : 0;
  struct pipe_inode_info *pipe = ((struct task_struct___splicing *)task)->splice_pipe;
  if (!source || !pipe) return 0;
  wait->source_position = KERNEL(file, source)->f_pos;
  wait->pipe_buffers = ADDRESS(pipe, bufs);
  wait->pipe_head = pipe->head;
  wait->pipe_tail = pipe->tail;
  wait->pipe_ring_size = pipe->ring_size;
  return 0;
}
#endif
