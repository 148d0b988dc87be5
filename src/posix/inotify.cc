#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "posix/anonymous_inode.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

// FSNOTIFY_MARK_FLAG_* of include/linux/fsnotify_backend.h
constexpr uint32_t kMarkExcludesUnlinked = 0x10;
constexpr uint32_t kMarkIsOneshot = 0x20;
/// Numbers are given one after the other: restoring a higher one would take too long.
constexpr int kHighestWatch = 1 << 22;
constexpr int kNumbersPerDrain = 4096;  ///< below fs.inotify.max_queued_events

uint32_t mask_of(const InotifyWatchRecord& watch) {
  uint32_t mask = watch.mask & IN_ALL_EVENTS;
  if (watch.flags & kMarkExcludesUnlinked) mask |= IN_EXCL_UNLINK;
  if (watch.flags & kMarkIsOneshot) mask |= IN_ONESHOT;
  return mask;
}

void drain(int inotify) {
  std::array<char, 65536> events;
  while (::read(inotify, events.data(), events.size()) > 0) {
  }
}

/// Uses up numbers until `wanted` is the next to be given. Numbers are given cyclically, so that one once given is not given again.
Result<void> advance(int inotify, int& next, int wanted) {
  if (next >= wanted) return {};
  const Fd scratch(memfd_create("watched", MFD_CLOEXEC));
  const std::string path = fmt::format("/proc/self/fd/{}", scratch.get());
  while (next < wanted) {
    const int number = inotify_add_watch(inotify, path.c_str(), IN_DELETE_SELF);
    if (number < 0) return system_error("add a watch");
    inotify_rm_watch(inotify, number);
    next = number + 1;
    if (number % kNumbersPerDrain == 0) drain(inotify);
  }
  drain(inotify);
  return {};
}

class InotifyKind final : public FileKind {
 public:
  const char* name() const override { return "inotify"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kInotify; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    return source.record.kind == kInotifyFile && is_anonymous_inode(source.record, "inotify");
  }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    const InotifyRecord* state = source.table.inotifies.find(source.record.file);
    if (state == nullptr) return failure("its state could not be read");
    if (state->queued_events != 0) {
      return passing_failure(fmt::format("{} events wait to be read from it: these cannot be persisted", state->queued_events), Retry::later);
    }
    Inotify& inotify = *file.mutable_inotify();
    inotify.set_next_number(static_cast<int>(state->next_watch));
    for (const InotifyWatchRecord* watch : source.table.inotify_watches.of(source.record.file)) {
      if (watch->watch > kHighestWatch) return failure(fmt::format("its watch descriptor {} is too high to be given again", watch->watch));
      InotifyWatch& record = *inotify.add_watches();
      record.set_number(watch->watch);
      record.set_mask(mask_of(*watch));
      if (watch->link_count == 0) return failure("it watches a file or directory that has no name any more");
      record.set_path(TRY(context.watched_file(source.host_pid, *watch)));
      record.set_inode_number(watch->inode_number);
    }
    std::ranges::sort(*inotify.mutable_watches(), {}, &InotifyWatch::number);
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    Fd fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!fd) return system_error("make an inotify instance");
    int next = 1;
    for (const InotifyWatch& watch : file.inotify().watches()) {
      TRY(advance(fd.get(), next, watch.number()));
      TRY(add(fd.get(), watch, context));
      next = watch.number() + 1;
    }
    TRY(advance(fd.get(), next, std::min(file.inotify().next_number(), kHighestWatch)));
    return fd;
  }

 private:
  static Result<void> add(int inotify, const InotifyWatch& watch, RestoreContext& context) {
    const Fd place = TRY(context.open_in_group(watch.path(), O_PATH | O_NOFOLLOW));
    struct stat status {};
    if (fstat(place.get(), &status) != 0) return system_error(fmt::format("stat '{}'", watch.path()));
    if (status.st_ino != watch.inode_number()) return failure(fmt::format("'{}', which is watched by inotify, is another file now", watch.path()));
    const int number = inotify_add_watch(inotify, fmt::format("/proc/self/fd/{}", place.get()).c_str(), watch.mask());
    if (number < 0) return system_error(fmt::format("watch '{}'", watch.path()));
    if (number != watch.number()) return failure(fmt::format("the watch of '{}' became {} instead of {}", watch.path(), number, watch.number()));
    return {};
  }
};

}  // namespace

const FileKind* inotify_kind() {
  static const InotifyKind kind;
  return &kind;
}

}  // namespace perdure::posix
