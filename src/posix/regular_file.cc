#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "posix/file_kind.h"
#include "posix/kinds.h"
#include "posix/message_queues.h"

namespace perdure::posix {

namespace {

constexpr uint64_t kPidfsMagic = 0x50494446;
/// File systems whose files look regular and are something else.
constexpr std::array<uint64_t, 6> kOtherFileSystems{ANON_INODE_FS_MAGIC, NSFS_MAGIC,        PROC_SUPER_MAGIC,
                                                    kPidfsMagic,         kMessageQueueMagic, SECRETMEM_MAGIC};

int reopening_flags(const OpenFile& file) {
  int flags = static_cast<int>(file.flags()) & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_ASYNC);
  // What was opened with O_TMPFILE is a file, not the directory that was named then.
  if ((flags & O_TMPFILE) == O_TMPFILE) flags &= ~O_TMPFILE;
  return flags;
}

/// By the name it was opened by, if that still leads to it.
Result<Fd> open_by_own_name(const OpenFile& file, const Inode& inode, RestoreContext& context) {
  Fd fd = TRY(context.open_in_group(file.regular_file().path(), reopening_flags(file)));
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return system_error(fmt::format("stat '{}'", file.regular_file().path()));
  if (status.st_ino != inode.number() || status.st_dev != inode.device()) return failure("another file");
  return fd;
}

Result<Fd> reopen(const OpenFile& file, RestoreContext& context) {
  const ObjectId id = file.regular_file().inode();
  const Inode& inode = *TRY(context.tree.inode(id));
  if (inode.kind() == Inode::kFile && inode.path() != file.regular_file().path()) {
    if (auto fd = open_by_own_name(file, inode, context)) return fd;
  }
  return context.open_inode(id, reopening_flags(file));
}

class RegularFileKind final : public FileKind {
 public:
  const char* name() const override { return "regular-file"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kRegularFile; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    if (!S_ISREG(source.record.inode_mode) && !S_ISDIR(source.record.inode_mode)) return false;
    return std::ranges::find(kOtherFileSystems, source.record.filesystem_magic) == kOtherFileSystems.end();
  }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    RegularFile& regular = *file.mutable_regular_file();
    regular.set_path(TRY(context.path_of(source)));
    regular.set_write_hint(source.record.write_hint);
    regular.set_inode(TRY(context.inode_object(source, regular.path())));
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    Fd fd = TRY(reopen(file, context));
    if (lseek(fd.get(), file.position(), SEEK_SET) < 0) return system_error(fmt::format("seek in '{}'", file.regular_file().path()));
    constexpr int kSetWriteHint = 1036;  // F_SET_RW_HINT
    const uint64_t hint = file.regular_file().write_hint();
    if (hint != 0 && fcntl(fd.get(), kSetWriteHint, &hint) != 0) {
      return system_error(fmt::format("hint how long what is written to '{}' lives", file.regular_file().path()));
    }
    return fd;
  }
};

}  // namespace

const FileKind* regular_file_kind() {
  static const RegularFileKind kind;
  return &kind;
}

}  // namespace perdure::posix
