#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>

#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

constexpr unsigned kMemoryMajor = 1;
constexpr unsigned kMinorBits = 20;
/// Documentation/admin-guide/devices.txt, major 1: those without a state of their own.
constexpr std::array<unsigned, 5> kStatelessMinors{3 /* null */, 5 /* zero */, 7 /* full */, 8 /* random */, 9 /* urandom */};

class DeviceKind final : public FileKind {
 public:
  const char* name() const override { return "device"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kDevice; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    if (!S_ISCHR(source.record.inode_mode) || source.record.special_device >> kMinorBits != kMemoryMajor) return false;
    const unsigned minor_number = source.record.special_device & ((1u << kMinorBits) - 1);
    return std::ranges::find(kStatelessMinors, minor_number) != kStatelessMinors.end();
  }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    file.mutable_device()->set_path(TRY(context.path_of(source)));
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    return context.open_in_group(file.device().path(), static_cast<int>(file.flags()) & (O_ACCMODE | O_NONBLOCK | O_APPEND));
  }
};

}  // namespace

const FileKind* device_kind() {
  static const DeviceKind kind;
  return &kind;
}

}  // namespace perdure::posix
