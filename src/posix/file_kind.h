// A kind of open file: how it is recognised, captured and restored. One implementation per kind, in the file of its name.
#pragma once

#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "posix/capture_context.h"
#include "posix/object_tree.h"
#include "posix/restore_context.h"

namespace perdure::posix {

class FileKind {
 public:
  virtual ~FileKind() = default;
  /// The kind's name, for messages and for `--mutate`.
  virtual const char* name() const = 0;
  /// The case of OpenFile::kind that this kind writes.
  virtual OpenFile::KindCase record_case() const = 0;
  virtual bool recognizes(const FileSource& source, const CaptureContext& context) const = 0;
  /// Runs while the group is stopped: fills in the kind's part of `file`. An error refuses the file (the message names what cannot be saved).
  virtual Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const = 0;
  /// Makes the open file description anew. Flags, position and owner are set by the caller.
  virtual Result<Fd> restore(ObjectId id, const OpenFile& file, RestoreContext& context) const = 0;
  /// Whether flags, position and owner are put back by the caller (not where the description belongs to somebody else).
  virtual bool keeps_flags() const { return true; }
  /// Whether connect() is to run after that of all others, since it watches them.
  virtual bool connects_last() const { return false; }
  /// Runs once every open file exists: references to others, contents of queues.
  virtual Result<void> connect(ObjectId, const OpenFile&, int, RestoreContext&) const { return {}; }
  /// Runs when the processes are all as they were: what is told of them only then.
  virtual Result<void> settle(const OpenFile&, int) const { return {}; }
};

/// All kinds, in the order in which they are asked.
std::span<const FileKind* const> file_kinds();
/// The kind that wrote a record; null when this build does not know it.
const FileKind* file_kind_of(const OpenFile& file);

}  // namespace perdure::posix
