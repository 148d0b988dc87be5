#include <sys/ioctl.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "posix/anonymous_inode.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

// The C library's header lacks it, and the kernel's cannot be included beside that.
constexpr unsigned long kSetTicks = _IOW('T', 0, uint64_t);  // TFD_IOC_SET_TICKS
constexpr unsigned kSettimeFlags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;

class TimerFdKind final : public FileKind {
 public:
  const char* name() const override { return "timerfd"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kTimerfd; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    return source.record.kind == kTimerfdFile && is_anonymous_inode(source.record, "[timerfd]");
  }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    const TimerfdRecord* state = source.table.timerfds.find(source.record.file);
    if (state == nullptr) return failure("its state could not be read");
    TimerFd& timer = *file.mutable_timerfd();
    timer.set_clock(static_cast<int>(state->clock));
    timer.set_base_clock(static_cast<int>(state->base_clock));
    timer.set_armed(state->active != 0);
    timer.set_expires_ns(state->expires_ns + context.clock_offset_ns(timer.base_clock()));
    timer.set_interval_ns(static_cast<int64_t>(state->interval_ns));
    timer.set_unread_ticks(state->ticks);
    timer.set_settime_flags(state->settime_flags & kSettimeFlags);
    timer.set_rests(state->active == 0 && state->expired != 0 && state->interval_ns != 0);
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    const TimerFd& timer = file.timerfd();
    Fd fd(timerfd_create(timer.clock(), TFD_CLOEXEC | TFD_NONBLOCK));
    if (!fd) return system_error("make a timerfd");
    uint64_t ticks = timer.unread_ticks();
    int64_t expires_ns = timer.expires_ns() - TRY(context.clock_offset_ns(timer.base_clock()));
    const bool periodic_behind = timer.rests() && timer.interval_ns() > 0;
    if (periodic_behind) {
      // It would have counted on from its last expiry at the next read: the same from the next expiry to come.
      const int64_t late_ns = clock_ns(timer.base_clock()) - expires_ns;
      const int64_t missed = std::max<int64_t>(late_ns, 0) / timer.interval_ns();
      ticks += static_cast<uint64_t>(missed);
      expires_ns += (missed + 1) * timer.interval_ns();
    }
    if (timer.armed() || periodic_behind) TRY(arm(fd.get(), timer, expires_ns));
    else if (timer.interval_ns() != 0) TRY(set(fd.get(), 0, {to_timespec(timer.interval_ns()), {}}));
    if (ticks != 0 && ioctl(fd.get(), kSetTicks, &ticks) != 0) return system_error("set the expiries of a timerfd");
    return fd;
  }

 private:
  static Result<void> set(int fd, int flags, const itimerspec& value) {
    if (timerfd_settime(fd, flags, &value, nullptr) != 0) return system_error("set a timerfd");
    return {};
  }

  static Result<void> arm(int fd, const TimerFd& timer, int64_t expires_ns) {
    // A relative one on another clock than its own cannot be given an absolute time.
    if (timer.clock() == timer.base_clock()) {
      const itimerspec value{to_timespec(timer.interval_ns()), to_timespec(std::max<int64_t>(expires_ns, 1))};
      return set(fd, static_cast<int>(timer.settime_flags() | TFD_TIMER_ABSTIME), value);
    }
    const int64_t remaining_ns = std::max<int64_t>(expires_ns - clock_ns(timer.base_clock()), 1);
    return set(fd, 0, {to_timespec(timer.interval_ns()), to_timespec(remaining_ns)});
  }
};

}  // namespace

const FileKind* timerfd_kind() {
  static const TimerFdKind kind;
  return &kind;
}

}  // namespace perdure::posix
