#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linux/process.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

class ProcFileKind final : public FileKind {
 public:
  const char* name() const override { return "proc-file"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kProcFile; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    return source.record.filesystem_magic == PROC_SUPER_MAGIC && (S_ISREG(source.record.inode_mode) || S_ISDIR(source.record.inode_mode));
  }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    const std::string path = TRY(context.path_of(source));
    if (path.ends_with(kDeleted)) return failure(fmt::format("'{}' is of a process that is gone", path));
    file.mutable_proc_file()->set_path(path);
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    const std::string& path = file.proc_file().path();
    return context.open_in_group(path, static_cast<int>(file.flags()) & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_ASYNC));
  }

  /// Seeking reads what is to be told, so that it must be right by then.
  Result<void> settle(const OpenFile& file, int fd) const override {
    if (file.position() == 0 || lseek(fd, file.position(), SEEK_SET) >= 0) return {};
    return system_error(fmt::format("seek in '{}'", file.proc_file().path()));
  }
};

}  // namespace

const FileKind* proc_file_kind() {
  static const ProcFileKind kind;
  return &kind;
}

}  // namespace perdure::posix
