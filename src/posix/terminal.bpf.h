// Terminals: which one an open file is, and, of the master of a pseudo terminal, the state of both ends and what is queued between them.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

enum TerminalLimits { kTerminalRingBytes = 4096, kTerminalRingMarkBytes = kTerminalRingBytes / 8, kTerminalBufferLimit = 64 << 10 };

/// One end of a pseudo terminal, with its line discipline (n_tty).
struct TerminalEnd {
  uint32_t other_closed, exclusive, locked;  ///< the other end has been closed; TIOCEXCL; TIOCSPTLCK
  uint32_t opens;                     ///< one more than those that have it open, while the master is open
  uint32_t line_discipline;           ///< N_TTY is 0
  uint32_t stopped, stopped_by_call;  ///< output is held; by tcflow(3)
  uint32_t packet_mode, packet_status;
  uint64_t read_head, read_tail;      ///< places in the ring of what was received and not yet read
  uint64_t echo_head, echo_tail;
  uint32_t quotes_next;               ///< after ^V
  uint32_t pushed;                    ///< what was there when lines began to be gathered is readable as it is
  uint32_t has_no_room;               ///< what comes waits before the line discipline until some of the ring has been read
  uint32_t is_moving;                 ///< the kernel was taking in what had come: what was read of it is of no use
  uint8_t settings[44];               ///< struct termios2
  uint8_t window_size[8];             ///< struct winsize
  uint8_t locked_settings[44];        ///< TIOCSLCKTRMIOS
};

struct TerminalRecord {
  struct RecordHeader header;
  uint64_t file;
  uint64_t terminal, other_end;       ///< tty_struct of this end, and of the other end of a pty
  uint32_t major, minor_start, index; ///< device number of the terminal proper (136 to 143: a pty's slave end, 128 to 135: a master)
  uint32_t hung_up;                   ///< this open file is: it leads to the terminal no more
  uint32_t foreground_group, session; ///< in the group's PID namespace, 0 without or outside; of a master, those of the other end
  uint32_t uid, gid, mode;            ///< of a master: who may open the other end by its name
  struct TerminalEnd master, slave;   ///< of a master
};

/// Something that waits in one end to be read. The tail is its bytes; of the ring, all of them and then a bit for each that ends a line.
struct TerminalInputRecord {
  struct RecordHeader header;
  uint64_t terminal;                  ///< the end that will read it
  uint64_t index;                     ///< 0: the line discipline's ring; others: what it has not looked at yet, in the order of reading
  uint64_t length;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/file.bpf.h"
#include "posix/output.bpf.h"
#include "posix/task.bpf.h"

enum { kMasterMajor = 128, kTerminalBuffersLimit = 4096, kMutexFlags = 7 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct ktermios {
  unsigned int c_iflag;
};
struct winsize {
  unsigned short ws_row;
};
struct tty_ldisc_ops {
  int num;
};
struct tty_ldisc {
  struct tty_ldisc_ops *ops;
};
struct tty_buffer {
  struct tty_buffer *next;
  unsigned int commit, read;
  uint8_t data[1];
};
struct mutex {
  atomic64_t owner;
};
struct tty_bufhead {
  struct tty_buffer *head;
  struct mutex lock;
};
struct tty_port {
  struct tty_bufhead buf;
};
struct n_tty_data {
  size_t read_head, echo_head, read_tail, echo_tail;
  bool no_room;
  unsigned char lnext : 1;
  unsigned char push : 1;
  uint8_t read_buf[kTerminalRingBytes];
  unsigned long read_flags[kTerminalRingMarkBytes / 8];
};
enum tty_struct_flags { TTY_OTHER_CLOSED = 2, TTY_EXCLUSIVE = 3, TTY_PTY_LOCK = 16 };
struct tty_struct___whole {
  struct tty_port *port;
  struct tty_ldisc *ldisc;
  struct ktermios termios, termios_locked;
  unsigned long flags;
  int count;
  struct winsize winsize;
  struct {
    bool stopped, tco_stopped;
  } flow;
  struct {
    struct pid *pgrp, *session;
    unsigned char pktstatus;
    bool packet;
  } ctrl;
  void *disc_data, *driver_data;
};
struct file_operations___open {
  void *open;
};
#pragma clang attribute pop

/// Older kernels have these numbers as macros, newer ones count them anew in an enumeration.
#define TERMINAL_FLAG(flag) \
  (bpf_core_enum_value_exists(enum tty_struct_flags, flag) ? bpf_core_enum_value(enum tty_struct_flags, flag) : (uint64_t)(flag))

static __always_inline bool port_is_busy(struct tty_port *port) { return (port->buf.lock.owner.counter & ~(int64_t)kMutexFlags) != 0; }

static __always_inline void fill_terminal_end(uint64_t address, struct TerminalEnd *end) {
  struct tty_struct___whole *terminal = (void *)KERNEL(tty_struct, address);
  struct n_tty_data *lines = KERNEL(n_tty_data, ADDRESS(terminal, disc_data));
  end->other_closed = terminal->flags >> TERMINAL_FLAG(TTY_OTHER_CLOSED) & 1;
  end->exclusive = terminal->flags >> TERMINAL_FLAG(TTY_EXCLUSIVE) & 1;
  end->locked = terminal->flags >> TERMINAL_FLAG(TTY_PTY_LOCK) & 1;
  end->opens = terminal->count;
  end->line_discipline = terminal->ldisc->ops->num;
  end->stopped = terminal->flow.stopped;
  end->stopped_by_call = terminal->flow.tco_stopped;
  end->packet_mode = terminal->ctrl.packet;
  end->packet_status = terminal->ctrl.pktstatus;
  end->is_moving = port_is_busy(terminal->port);
  end->has_no_room = lines->no_room;
  end->read_head = lines->read_head;
  end->read_tail = lines->read_tail;
  end->echo_head = lines->echo_head;
  end->echo_tail = lines->echo_tail;
  end->quotes_next = BPF_CORE_READ_BITFIELD(lines, lnext);
  end->pushed = BPF_CORE_READ_BITFIELD(lines, push);
  bpf_probe_read_kernel(end->settings, sizeof(end->settings), &terminal->termios);
  bpf_probe_read_kernel(end->locked_settings, sizeof(end->locked_settings), &terminal->termios_locked);
  bpf_probe_read_kernel(end->window_size, sizeof(end->window_size), &terminal->winsize);
}

/// Whether the line discipline has taken in nothing, and was about to, since `end` was filled in. (It is the kernel that moves what was written
/// from one end to the other, in its own time: that the group is stopped does not hold it.)
static __always_inline bool end_is_as_before(uint64_t address, struct TerminalEnd *end) {
  struct tty_struct___whole *terminal = (void *)KERNEL(tty_struct, address);
  struct n_tty_data *lines = KERNEL(n_tty_data, ADDRESS(terminal, disc_data));
  return !port_is_busy(terminal->port) && lines->read_head == end->read_head && lines->read_tail == end->read_tail;
}

static __noinline int put_terminal_ring(struct Pass *pass, uint64_t address) {
  struct tty_struct___whole *terminal = (void *)KERNEL(tty_struct, address);
  uint64_t lines = ADDRESS(terminal, disc_data);
  if (KERNEL(n_tty_data, lines)->read_head == KERNEL(n_tty_data, lines)->read_tail) return 1;
  struct TerminalInputRecord *record = begin_record(pass, sizeof(*record), kTerminalRingBytes + kTerminalRingMarkBytes);
  if (!record) return 0;
  record->terminal = address;
  record->index = 0;
  record->length = kTerminalRingBytes + kTerminalRingMarkBytes;
  uint8_t *to = (uint8_t *)(record + 1);
  bpf_probe_read_kernel(to, kTerminalRingBytes, (void *)(lines + FIELD_OFFSET(n_tty_data, read_buf)));
  bpf_probe_read_kernel(to + kTerminalRingBytes, kTerminalRingMarkBytes, (void *)(lines + FIELD_OFFSET(n_tty_data, read_flags)));
  finish_record(pass, &record->header, kTerminalInputRecord, sizeof(*record) + kTerminalRingBytes + kTerminalRingMarkBytes);
  return 1;
}

static __noinline int put_terminal_buffers(struct Pass *pass, uint64_t address) {
  struct tty_struct___whole *terminal = (void *)KERNEL(tty_struct, address);
  uint64_t at = ADDRESS(terminal->port, buf.head), index = 1;
  REPEAT(kTerminalBuffersLimit) {
    if (!at) break;
    struct tty_buffer *buffer = KERNEL(tty_buffer, at);
    uint32_t from = buffer->read, length = buffer->commit - from;
    if (buffer->commit > from) {
      struct TerminalInputRecord *record = begin_record(pass, sizeof(*record), kTerminalBufferLimit);
      if (!record) return 0;
      record->terminal = address;
      record->index = index;
      record->length = length;
      uint64_t size = at_most(length, kTerminalBufferLimit);
      bpf_probe_read_kernel(record + 1, size, (void *)(at + FIELD_OFFSET(tty_buffer, data) + from));
      finish_record(pass, &record->header, kTerminalInputRecord, sizeof(*record) + size);
      index++;
    }
    at = word_at(at + FIELD_OFFSET(tty_buffer, next));
  }
  return 1;
}

/// Both ends, in the record of the master.
static __always_inline bool put_pseudo_terminal(struct Pass *pass, uint64_t master, uint64_t slave, struct TerminalRecord *record) {
  fill_terminal_end(master, &record->master);
  fill_terminal_end(slave, &record->slave);
  finish_record(pass, &record->header, kTerminalRecord, sizeof(*record));
  if (!put_terminal_ring(pass, master) || !put_terminal_buffers(pass, master) || !put_terminal_ring(pass, slave) ||
      !put_terminal_buffers(pass, slave)) {
    return false;
  }
  if (!end_is_as_before(master, &record->master)) record->master.is_moving = 1;
  if (!end_is_as_before(slave, &record->slave)) record->slave.is_moving = 1;
  return true;
}

static __always_inline bool put_terminal(struct Pass *pass, struct file *file, uint32_t level) {
  struct TerminalRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  struct tty_struct *terminal = KERNEL(tty_file_private, file->private_data)->tty;
  record->file = (uint64_t)file;
  record->terminal = (uint64_t)terminal;
  record->other_end = (uint64_t)terminal->link;
  record->major = terminal->driver->major;
  record->minor_start = terminal->driver->minor_start;
  record->index = terminal->index;
  record->hung_up = !((struct file_operations___open *)file->f_op)->open;
  __builtin_memset(&record->master, 0, sizeof(record->master));
  __builtin_memset(&record->slave, 0, sizeof(record->slave));
  bool is_master = record->major == kMasterMajor;
  struct tty_struct___whole *controlled = (void *)(is_master ? terminal->link : terminal);
  record->foreground_group = pid_number(controlled->ctrl.pgrp, level);
  record->session = pid_number(controlled->ctrl.session, level);
  struct inode *inode = KERNEL(dentry, ADDRESS(controlled, driver_data))->d_inode;
  record->uid = is_master ? inode->i_uid.val : 0;
  record->gid = is_master ? inode->i_gid.val : 0;
  record->mode = is_master ? inode->i_mode : 0;
  if (is_master) return put_pseudo_terminal(pass, record->terminal, record->other_end, record);
  finish_record(pass, &record->header, kTerminalRecord, sizeof(*record));
  return true;
}
#endif
