#include <fcntl.h>
#include <sys/eventfd.h>

#include "posix/anonymous_inode.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

class EventFdKind final : public FileKind {
 public:
  const char* name() const override { return "eventfd"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kEventfd; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    return source.record.kind == kEventfdFile && is_anonymous_inode(source.record, "[eventfd]");
  }

  Result<void> capture(const FileSource& source, CaptureContext&, OpenFile& file) const override {
    const EventfdRecord* state = source.table.eventfds.find(source.record.file);
    if (state == nullptr) return failure("its state could not be read");
    EventFd& eventfd = *file.mutable_eventfd();
    eventfd.set_count(state->count);
    eventfd.set_semaphore((state->flags & EFD_SEMAPHORE) != 0);
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext&) const override {
    const int flags = EFD_CLOEXEC | EFD_NONBLOCK | (file.eventfd().semaphore() ? EFD_SEMAPHORE : 0);
    Fd fd(::eventfd(0, flags));
    if (!fd) return system_error("make an eventfd");
    const uint64_t count = file.eventfd().count();
    if (count != 0 && ::write(fd.get(), &count, sizeof count) != sizeof count) return system_error("set an eventfd");
    return fd;
  }
};

}  // namespace

const FileKind* eventfd_kind() {
  static const EventFdKind kind;
  return &kind;
}

}  // namespace perdure::posix
