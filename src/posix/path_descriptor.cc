#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include "linux/process.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

class PathDescriptorKind final : public FileKind {
 public:
  const char* name() const override { return "path-descriptor"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kPathDescriptor; }
  bool recognizes(const FileSource& source, const CaptureContext&) const override { return (source.record.flags & O_PATH) != 0; }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    PathDescriptor& place = *file.mutable_path_descriptor();
    place.set_path(TRY(context.path_of(source)));
    place.set_inode_number(source.record.inode_number);
    if (place.path().starts_with('/') && !place.path().ends_with(kDeleted)) return {};
    if (!S_ISREG(source.record.inode_mode)) return failure(fmt::format("'{}' has no name any more", place.path()));
    place.set_inode(TRY(context.inode_object(source, place.path())));
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    const PathDescriptor& place = file.path_descriptor();
    if (place.inode() != 0) return context.open_inode(place.inode(), O_PATH);
    Fd fd = TRY(context.open_in_group(place.path(), O_PATH | O_NOFOLLOW | (static_cast<int>(file.flags()) & O_DIRECTORY)));
    struct stat status {};
    if (fstat(fd.get(), &status) != 0) return system_error(fmt::format("stat '{}'", place.path()));
    // Numbers in /proc are given anew with each mount of it.
    if (status.st_ino != place.inode_number() && !place.path().starts_with("/proc/")) {
      return failure(fmt::format("'{}' is another file than at the checkpoint", place.path()));
    }
    return fd;
  }
};

}  // namespace

const FileKind* path_descriptor_kind() {
  static const PathDescriptorKind kind;
  return &kind;
}

}  // namespace perdure::posix
