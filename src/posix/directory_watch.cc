#include "posix/directory_watch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>

#include <array>

#include "posix/file_attributes.h"

namespace perdure::posix {

namespace {

// FS_* of include/linux/fsnotify_backend.h
constexpr uint32_t kMovedFrom = 0x40;
constexpr uint32_t kMovedTo = 0x80;
constexpr uint32_t kOnChild = 0x08000000;

/// What F_NOTIFY asks for, and what the kernel makes of it. Creation and deletion bring the moves with them.
constexpr std::array<std::pair<uint32_t, uint32_t>, 7> kEvents{{
    {DN_ACCESS, 0x1}, {DN_MODIFY, 0x2}, {DN_ATTRIB, 0x4}, {DN_CREATE, 0x100}, {DN_DELETE, 0x200}, {DN_RENAME, 0x10000000}, {DN_MULTISHOT, 0x20000000}}};

}  // namespace

Result<record::DirectoryWatch> directory_watch(const DirectoryWatchRecord& source) {
  uint32_t asked = 0;
  uint32_t unknown = source.events & ~(kMovedFrom | kMovedTo | kOnChild);
  for (const auto& [event, flag] : kEvents) {
    if ((source.events & flag) != 0) asked |= event;
    unknown &= ~flag;
  }
  if (unknown != 0) return failure(fmt::format("the kernel watches a directory (F_NOTIFY) for what is not known here ({:x})", unknown));
  record::DirectoryWatch watch;
  watch.set_number(source.descriptor);
  watch.set_events(asked);
  return watch;
}

void add_directory_watch(SyscallBatch& batch, const record::DirectoryWatch& watch, const OpenFile& file, const RestoreContext& context) {
  const auto number = static_cast<uint64_t>(watch.number());
  batch.add("watch a directory by signals", SYS_fcntl, {number, F_NOTIFY, watch.events()});
  // To ask makes the caller the owner of a file that has none.
  if (!has_owner_here(file, context)) batch.add("leave an open file without an owner", SYS_fcntl, {number, F_SETOWN, 0});
}

}  // namespace perdure::posix
