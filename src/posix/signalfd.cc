#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "posix/anonymous_inode.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

class SignalFdKind final : public FileKind {
 public:
  const char* name() const override { return "signalfd"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kSignalfd; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    return source.record.kind == kSignalfdFile && is_anonymous_inode(source.record, "[signalfd]");
  }

  Result<void> capture(const FileSource& source, CaptureContext&, OpenFile& file) const override {
    const SignalfdRecord* state = source.table.signalfds.find(source.record.file);
    if (state == nullptr) return failure("its state could not be read");
    file.mutable_signalfd()->set_accepted(state->accepted);
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext&) const override {
    const uint64_t accepted = file.signalfd().accepted();
    Fd fd(static_cast<int>(syscall(SYS_signalfd4, -1, &accepted, sizeof accepted, SFD_CLOEXEC | SFD_NONBLOCK)));
    if (!fd) return system_error("make a signalfd");
    return fd;
  }
};

}  // namespace

const FileKind* signalfd_kind() {
  static const SignalFdKind kind;
  return &kind;
}

}  // namespace perdure::posix
