#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

class StandardStreamKind final : public FileKind {
 public:
  const char* name() const override { return "standard-stream"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kStandardStream; }
  bool recognizes(const FileSource& source, const CaptureContext& context) const override {
    return context.standard_stream(source) >= 0 || context.is_group_terminal(source);
  }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    file.mutable_standard_stream()->set_number(std::max(context.standard_stream(source), 0));
    file.mutable_standard_stream()->set_terminal(context.standard_stream(source) < 0);
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    const int number = file.standard_stream().number();
    if (number < 0 || number > 2) return failure("a standard stream beyond 2");
    if (file.standard_stream().terminal() && context.terminal_master >= 0) {
      // TIOCGPTPEER: the other end, whatever devpts is mounted where.
      Fd opened(ioctl(context.terminal_master, TIOCGPTPEER, (static_cast<int>(file.flags()) & (O_ACCMODE | O_NONBLOCK)) | O_NOCTTY | O_CLOEXEC));
      if (!opened) return system_error("open the group's terminal");
      return opened;
    }
    Fd fd(fcntl(context.standard_streams[static_cast<size_t>(number)], F_DUPFD_CLOEXEC, 3));
    if (!fd) return system_error(fmt::format("bind standard stream {}", number));
    return fd;
  }
  bool keeps_flags() const override { return false; }
};

}  // namespace

const FileKind* standard_stream_kind() {
  static const StandardStreamKind kind;
  return &kind;
}

}  // namespace perdure::posix
