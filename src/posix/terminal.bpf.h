// Terminals: which one an open file is.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

struct TerminalRecord {
  struct RecordHeader header;
  uint64_t file;
  uint64_t terminal, other_end;       ///< tty_struct of this end, and of the other end of a pty
  uint32_t major, minor_start, index; ///< device number of the terminal proper (136 to 143: a pty's slave end, 128 to 135: a master)
  uint32_t opens;
  uint32_t foreground_group, session; ///< in the group's PID namespace, 0 without or outside
  uint32_t packet_mode;
  uint32_t stopped;                   ///< output held by ^S
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/file.bpf.h"
#include "posix/output.bpf.h"
#include "posix/task.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct tty_struct___control {
  struct {
    bool stopped;
  } flow;
  struct {
    struct pid *pgrp, *session;
    bool packet;
  } ctrl;
};
#pragma clang attribute pop

static __always_inline bool put_terminal(struct Pass *pass, struct file *file, uint32_t level) {
  struct TerminalRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  struct tty_struct *terminal = KERNEL(tty_file_private, file->private_data)->tty;
  struct tty_struct___control *control = (void *)terminal;
  record->file = (uint64_t)file;
  record->terminal = (uint64_t)terminal;
  record->other_end = (uint64_t)terminal->link;
  record->major = terminal->driver->major;
  record->minor_start = terminal->driver->minor_start;
  record->index = terminal->index;
  record->opens = terminal->count;
  record->foreground_group = pid_number(control->ctrl.pgrp, level);
  record->session = pid_number(control->ctrl.session, level);
  record->packet_mode = control->ctrl.packet;
  record->stopped = control->flow.stopped;
  finish_record(pass, &record->header, kTerminalRecord, sizeof(*record));
  return true;
}
#endif
