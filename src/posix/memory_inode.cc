#include "posix/memory_inode.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "linux/process.h"
#include "posix/restore_context.h"

namespace perdure::posix {

namespace {

constexpr uint64_t kChunkPages = 1024;
constexpr std::string_view kMemfdPrefix = "/memfd:";
constexpr mode_t kPermissions = 07777;

/// Shared memory mapped into this process for as long as this exists.
class SharedMapping {
 public:
  SharedMapping(int file, uint64_t offset, uint64_t size, int flags)
      : size_(size), start_(mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, file, static_cast<off_t>(offset))) {}
  SharedMapping(const SharedMapping&) = delete;
  SharedMapping& operator=(const SharedMapping&) = delete;
  ~SharedMapping() {
    if (start_ != MAP_FAILED) munmap(start_, size_);
  }
  bool valid() const { return start_ != MAP_FAILED; }
  std::byte* bytes() const { return static_cast<std::byte*>(start_); }

 private:
  uint64_t size_;
  void* start_;
};

/// The file behind a mapping of this process.
Result<Fd> open_behind(const void* start, uint64_t size) {
  const auto address = reinterpret_cast<uint64_t>(start);
  const std::string link = fmt::format("/proc/self/map_files/{:x}-{:x}", address, address + size);
  Fd file(::open(link.c_str(), O_RDWR | O_CLOEXEC));
  if (!file) return system_error("open " + link);
  return file;
}

uint64_t page_bytes(const Inode& inode) {
  constexpr uint64_t kHugePageSize = 2 << 20;
  return inode.huge_pages() ? kHugePageSize : kPageSize;
}

/// A file that is there already keeps no page but those of the checkpoint.
Result<void> clear(int file, const Inode& inode) {
  struct stat status {};
  if (fstat(file, &status) != 0) return system_error(fmt::format("stat '{}'", inode.path()));
  if (status.st_size == 0) return {};
  if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, status.st_size) != 0) {
    return system_error(fmt::format("clear '{}'", inode.path()));
  }
  return {};
}

/// By way of a mapping, which huge pages can be written by too.
Result<void> fill(int file, ObjectId id, const Inode& inode, const store::View& view) {
  for (const auto& run : view.runs(id, 0, align_up(inode.size(), kPageSize) / kPageSize)) {
    for (uint64_t page = run.first; page < run.first + run.count;) {
      const uint64_t start = align_down(page * kPageSize, page_bytes(inode));
      const uint64_t end_page = std::min(run.first + run.count, start / kPageSize + kChunkPages);
      const uint64_t size = align_up(end_page * kPageSize, page_bytes(inode)) - start;
      const SharedMapping window(file, start, size, MAP_SHARED);
      if (!window.valid()) return system_error(fmt::format("map '{}' to fill it", inode.path()));
      TRY(view.read(id, page, end_page - page, window.bytes() + (page * kPageSize - start)));
      page = end_page;
    }
  }
  return {};
}

Result<Fd> make_memfd(const Inode& inode) {
  std::string name = inode.path();
  if (name.starts_with(kMemfdPrefix)) name.erase(0, kMemfdPrefix.size());
  if (name.ends_with(kDeleted)) name.resize(name.size() - kDeleted.size());
  const uint32_t flags = inode.memfd_flags() == 0 ? MFD_CLOEXEC | MFD_ALLOW_SEALING : inode.memfd_flags();
  Fd file(memfd_create(name.c_str(), flags));
  if (!file) return system_error(fmt::format("make memory file '{}'", inode.path()));
  return file;
}

/// MAP_SHARED | MAP_ANONYMOUS memory, as /proc/PID/maps shows it.
Result<Fd> make_shared_anonymous(const Inode& inode) {
  const uint64_t size = std::max(align_up(inode.size(), page_bytes(inode)), page_bytes(inode));
  const int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | (inode.huge_pages() ? MAP_HUGETLB : 0);
  const SharedMapping memory(-1, 0, size, flags);
  if (!memory.valid()) return system_error("map shared memory");
  return open_behind(memory.bytes(), size);
}

/// On the file system it was on, where that still takes files at the same place; else in memory.
Result<Fd> make_nameless(const Inode& inode, const RestoreContext& context) {
  std::string path = inode.path();
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  const size_t slash = path.rfind('/');
  const std::string directory = slash == 0 ? "/" : path.substr(0, slash);
  const bool never_named = path.compare(slash + 1, 1, "#") == 0;
  if (!never_named) {
    if (auto file = context.open_in_group(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, inode.mode() & kPermissions)) {
      const std::string made = TRY(read_link(fmt::format("/proc/self/fd/{}", file->get())));
      const std::string in_group = fmt::format("/proc/{}/root{}", context.init.init_pid(), made);
      if (::unlink(in_group.c_str()) != 0) return system_error("unlink " + made);
      return file;
    }
  }
  if (auto file = context.open_in_group(directory, O_RDWR | O_TMPFILE, inode.mode() & kPermissions)) return file;
  return make_memfd(inode);
}

Result<Fd> open_named(const Inode& inode, const RestoreContext& context) {
  if (auto there = context.open_in_group(inode.path(), O_RDWR | O_NOFOLLOW)) return there;
  std::string root = fmt::format("/proc/{}/root", context.init.init_pid());
  for (size_t slash = inode.path().find('/', 1); slash != std::string::npos; slash = inode.path().find('/', slash + 1)) {
    ::mkdir((root + inode.path().substr(0, slash)).c_str(), 0777);
  }
  return context.open_in_group(inode.path(), O_RDWR | O_CREAT | O_NOFOLLOW, inode.mode() & kPermissions);
}

/// shmget() under the id it had: the kernel takes the next one from a sysctl.
Result<Fd> make_segment(const Inode& inode) {
  const auto key = static_cast<key_t>(inode.system_v_removed() ? IPC_PRIVATE : inode.system_v_key());
  TRY(write_file("/proc/sys/kernel/shm_next_id", fmt::format("{}", inode.system_v_id())));
  const int flags = IPC_CREAT | IPC_EXCL | static_cast<int>(inode.mode() & 0777) | (inode.huge_pages() ? SHM_HUGETLB : 0);
  const int id = shmget(key, inode.size(), flags);
  if (id < 0) return system_error(fmt::format("make System V shared memory {}", inode.system_v_id()));
  if (id != inode.system_v_id()) return failure(fmt::format("System V shared memory {} became {}", inode.system_v_id(), id));
  shmid_ds status{};
  if (shmctl(id, IPC_STAT, &status) != 0) return system_error("look at System V shared memory");
  status.shm_perm.uid = inode.uid();
  status.shm_perm.gid = inode.gid();
  if (shmctl(id, IPC_SET, &status) != 0) return system_error("give System V shared memory to its owner");
  void* attached = shmat(id, nullptr, 0);
  if (attached == reinterpret_cast<void*>(-1)) return system_error("attach System V shared memory");
  auto file = open_behind(attached, align_up(inode.size(), page_bytes(inode)));
  shmdt(attached);
  return file;
}

Result<Fd> make(const Inode& inode, const RestoreContext& context) {
  switch (inode.kind()) {
    case Inode::kMemory: return inode.path().starts_with(kMemfdPrefix) ? make_memfd(inode) : make_shared_anonymous(inode);
    case Inode::kDeleted: return make_nameless(inode, context);
    case Inode::kNamedMemory: return open_named(inode, context);
    case Inode::kSystemVMemory: return make_segment(inode);
    default: return failure(fmt::format("'{}' is of a kind that this perdure does not know", inode.path()));
  }
}

/// Seals that nothing could be mapped for writing under, or filled under, later than they.
bool seals_bar_mapping(const Inode& inode) { return (inode.seals() & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) == F_SEAL_FUTURE_WRITE; }

Result<void> add_seals(const Inode& inode, int file) {
  if (inode.seals() == 0 || inode.seals() == F_SEAL_SEAL || inode.kind() != Inode::kMemory) return {};
  if (fcntl(file, F_ADD_SEALS, inode.seals()) != 0) return system_error(fmt::format("seal '{}'", inode.path()));
  return {};
}

}  // namespace

Result<Fd> restore_memory_inode(ObjectId id, const Inode& inode, RestoreContext& context) {
  Fd file = TRY(make(inode, context));
  if (inode.kind() != Inode::kSystemVMemory) {
    if (inode.kind() == Inode::kNamedMemory) TRY(clear(file.get(), inode));
    if (ftruncate(file.get(), static_cast<off_t>(inode.size())) != 0) return system_error(fmt::format("size '{}'", inode.path()));
    if (fchown(file.get(), inode.uid(), inode.gid()) != 0) return system_error(fmt::format("chown '{}'", inode.path()));
    if (fchmod(file.get(), inode.mode() & kPermissions) != 0) return system_error(fmt::format("chmod '{}'", inode.path()));
  }
  TRY(fill(file.get(), id, inode, context.view));
  if (!seals_bar_mapping(inode)) TRY(add_seals(inode, file.get()));
  if (inode.kind() != Inode::kDeleted) return file;
  // A program's file cannot be its executable as long as anybody has it open for writing.
  Fd readable(::open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!readable) return system_error(fmt::format("open '{}' again", inode.path()));
  return readable;
}

Result<void> finish_memory_inode(const Inode& inode, int file) {
  if (inode.kind() == Inode::kSystemVMemory) {
    if (inode.system_v_removed() && shmctl(inode.system_v_id(), IPC_RMID, nullptr) != 0) return system_error("remove System V shared memory");
    return {};
  }
  if (seals_bar_mapping(inode)) TRY(add_seals(inode, file));
  const std::array<timespec, 2> times{{{0, UTIME_OMIT}, to_timespec(inode.modified_ns())}};
  if (futimens(file, times.data()) != 0) return system_error(fmt::format("set the times of '{}'", inode.path()));
  return {};
}

}  // namespace perdure::posix
