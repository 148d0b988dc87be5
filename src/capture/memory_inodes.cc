// Inodes whose contents are the store's: shared memory, and files that no path leads to.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <bit>
#include <filesystem>

#include "base/clock.h"
#include "capture/internal.h"
#include "capture/mutation.h"
#include "linux/process.h"

namespace perdure::capture {

namespace {

using posix::Inode;

constexpr unsigned kHugeSizeShift = 26;  // MFD_HUGE_SHIFT

bool is_segment(const std::string& path) { return path.starts_with("/SYSV") && path.size() == 13 + kDeleted.size(); }

bool is_nameless_memory(const std::string& path) {
  return path.starts_with("/memfd:") || path == "/dev/zero (deleted)" || path == "/anon_hugepage (deleted)";
}

uint32_t memfd_flags(uint32_t seals, const struct stat& status, bool huge) {
  uint32_t flags = MFD_CLOEXEC;
  if (seals != F_SEAL_SEAL) flags |= MFD_ALLOW_SEALING;
  if (huge) flags |= MFD_HUGETLB | static_cast<uint32_t>(std::countr_zero(static_cast<uint64_t>(status.st_blksize))) << kHugeSizeShift;
  return flags;
}

}  // namespace

/// A file whose name is gone while a hard link is left is looked for where it was.
Result<std::string> Capturer::find_other_name(const std::string& gone, const struct stat& wanted) const {
  const std::string directory = gone.substr(0, gone.rfind('/') + 1);
  const std::string root = fmt::format("/proc/{}/root", options_.init_pid);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root + directory, error)) {
    struct stat status {};
    if (::lstat(entry.path().c_str(), &status) != 0 || status.st_ino != wanted.st_ino || status.st_dev != wanted.st_dev) continue;
    return directory + entry.path().filename().string();
  }
  return failure(fmt::format("'{}' is gone, but the file has another name, which cannot be found", gone));
}

Result<posix::ObjectId> Capturer::inode_at(const std::string& link, uint64_t address, uint64_t number, bool written, PausedState& state) {
  posix::ObjectId own_id = identities_.of(ObjectKind::inode, address, number);
  const auto known = state.inodes.find(address);
  if (known != state.inodes.end() && !(written && state.read_only_memory.contains(known->second))) return known->second;
  const auto belongs_to_store = [&](posix::ObjectId id) {
    state.inodes[address] = id;
    state.memory_inodes.insert(id);
    state.links[id] = link;
    state.records.erase(own_id);
    state.kept.erase(own_id);
    inodes_.erase(own_id);  // even if this attempt comes to nothing, it is no outside file any more
    return id;
  };
  if (memory_inodes_.contains(own_id)) return belongs_to_store(own_id);
  struct stat status {};
  if (::stat(link.c_str(), &status) != 0) return system_error("stat " + link);
  if (const auto restored = restored_inodes_.find({status.st_dev, status.st_ino}); restored != restored_inodes_.end()) {
    own_id = restored->second;
    identities_.adopt(ObjectKind::inode, address, number, own_id);
  }
  std::string path = TRY(read_link(link));
  const bool regular = S_ISREG(status.st_mode);
  if (status.st_nlink == 0 || path.ends_with(kDeleted)) {
    if (!regular) return failure(fmt::format("'{}' has no name any more", path));
    if (path.starts_with("/[")) return failure(fmt::format("'{}', the memory of a kernel interface, is mapped", path));
    if (is_segment(path)) return belongs_to_store(identities_.of(ObjectKind::segment, status.st_ino));
    if (status.st_nlink == 0) return belongs_to_store(own_id);
    path = TRY(find_other_name(path, status));
  }
  const auto file_system = TRY(file_system_of(link, status.st_dev));
  if (regular && file_system == TMPFS_MAGIC) {
    if (written || path.starts_with("/dev/shm/")) return belongs_to_store(own_id);
    state.read_only_memory.insert(own_id);
  }
  // Gone after a reboot, and newer than the checkpoint after a crash.
  if (regular && file_system == HUGETLBFS_MAGIC) return failure(fmt::format("'{}' is a file of a hugetlbfs: this cannot be persisted", path));
  state.inodes[address] = own_id;
  Inode& inode = *state.records[own_id].mutable_inode();
  inode.set_path(path);
  inode.set_device(status.st_dev);
  inode.set_number(status.st_ino);
  inode.set_mode(status.st_mode);
  state.kept.erase(own_id);
  inodes_[own_id] = state.records[own_id];
  inodes_looked_at_.insert(own_id);
  return own_id;
}

/// One that lies outside of the store, and is what it was when it was last looked at.
void Capturer::keep_inode(posix::ObjectId id, PausedState& state) {
  if (inodes_looked_at_.contains(id)) state.records[id] = inodes_.at(id);
  else state.kept.insert(id);
}

/// Of this epoch or, where it was kept, of the last one; null when there is none.
const posix::Inode* Capturer::outside_inode(posix::ObjectId id, const PausedState& state) const {
  if (const auto looked_at = state.records.find(id); looked_at != state.records.end()) return &looked_at->second.inode();
  const auto kept = inodes_.find(id);
  return kept == inodes_.end() ? nullptr : &kept->second.inode();
}

Result<int64_t> Capturer::file_system_of(const std::string& path, uint64_t device) {
  const auto known = file_systems_.find(device);
  if (known != file_systems_.end()) return known->second;
  struct statfs status {};
  if (::statfs(path.c_str(), &status) != 0) return system_error("statfs " + path);
  return file_systems_[device] = status.f_type;
}

/// Every segment of the group's IPC namespace, which this thread is in.
Result<void> Capturer::take_segments(PausedState& state) {
  shm_info information{};
  const int highest = shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&information));
  if (highest < 0) return system_error("list System V shared memory");
  segments_.clear();
  for (int index = 0; information.used_ids > 0 && index <= highest; ++index) {
    Segment segment{};
    segment.id = shmctl(index, SHM_STAT_ANY, &segment.status);
    if (segment.id < 0) continue;
    const posix::ObjectId object = identities_.of(ObjectKind::segment, static_cast<uint64_t>(segment.id));
    state.memory_inodes.insert(object);
    segments_[object] = segment;
  }
  return {};
}

Result<Fd> Capturer::open_segment(int id) {
  void* attached = shmat(id, nullptr, SHM_RDONLY);
  if (attached == reinterpret_cast<void*>(-1)) return system_error(fmt::format("attach System V shared memory {}", id));
  shmid_ds status{};
  const bool known = shmctl(id, IPC_STAT, &status) == 0;
  const auto start = reinterpret_cast<uint64_t>(attached);
  const std::string link = fmt::format("/proc/self/map_files/{:x}-{:x}", start, start + align_up(known ? status.shm_segsz : 0, kPageSize));
  Fd file(::open(link.c_str(), O_RDONLY | O_CLOEXEC));
  const int saved = errno;
  shmdt(attached);
  if (!file) return std::unexpected(Error{"open " + link, saved});
  return file;
}

Result<void> Capturer::take_memory_inodes(PausedState& state) {
  for (const posix::ObjectId id : state.memory_inodes) {
    if (state.records.contains(id)) continue;
    auto& inode = memory_inodes_[id];
    if (inode == nullptr) {
      Fd file;
      if (const auto link = state.links.find(id); link != state.links.end()) {
        file = Fd(::open(link->second.c_str(), O_RDONLY | O_CLOEXEC));
        if (!file) {
          memory_inodes_.erase(id);
          return system_error("open " + link->second);
        }
      } else {
        auto opened = open_segment(segments_.at(id).id);
        if (!opened) {
          memory_inodes_.erase(id);
          return std::unexpected(opened.error());
        }
        file = std::move(*opened);
      }
      inode = std::make_unique<MemoryInode>(std::move(file), id);
      if (auto restored = restored_contents_.extract(id)) inode->pages.assume(std::move(restored.mapped()));
    }
    TRY(take_memory_inode(*inode, state));
  }
  mappings_changed_ = false;
  return {};
}

Result<void> Capturer::describe_memory_inode(MemoryInode& inode, const struct stat& status, const std::string& link) {
  Inode& record = inode.record;
  const int file = inode.pages.file();
  const int64_t file_system = TRY(file_system_of(fmt::format("/proc/self/fd/{}", file), status.st_dev));
  const bool huge = file_system == HUGETLBFS_MAGIC;
  const int seals = file_system == TMPFS_MAGIC || huge ? fcntl(file, F_GET_SEALS) : 0;
  record.set_path(TRY(read_link(link.empty() ? fmt::format("/proc/self/fd/{}", file) : link)));
  record.set_device(status.st_dev);
  record.set_number(status.st_ino);
  record.set_size(static_cast<uint64_t>(status.st_size));
  record.set_mode(status.st_mode);
  record.set_uid(status.st_uid);
  record.set_gid(status.st_gid);
  record.set_seals(static_cast<uint32_t>(std::max(seals, 0)));
  record.set_modified_ns(to_nanoseconds(status.st_mtim));
  record.set_huge_pages(huge);
  if (const auto segment = segments_.find(inode.pages.space()); segment != segments_.end()) {
    const ipc_perm& owner = segment->second.status.shm_perm;
    record.set_kind(Inode::kSystemVMemory);
    record.set_system_v_id(segment->second.id);
    record.set_system_v_key(owner.__key);
    record.set_system_v_removed((owner.mode & SHM_DEST) != 0);
    record.set_mode(owner.mode);
    record.set_uid(owner.uid);
    record.set_gid(owner.gid);
    record.set_size(segment->second.status.shm_segsz);
  } else if (is_nameless_memory(record.path())) {
    record.set_kind(Inode::kMemory);
    record.set_memfd_flags(memfd_flags(record.seals(), status, huge));
  } else if (huge) {
    return failure(fmt::format("'{}' is a file of a hugetlbfs", record.path()));
  } else {
    record.set_kind(status.st_nlink == 0 ? Inode::kDeleted : Inode::kNamedMemory);
  }
  return {};
}

Result<void> Capturer::take_memory_inode(MemoryInode& inode, PausedState& state) {
  const posix::ObjectId id = inode.pages.space();
  struct stat status {};
  if (fstat(inode.pages.file(), &status) != 0) return system_error("stat a memory file");
  const auto link = state.links.find(id);
  auto described = describe_memory_inode(inode, status, link == state.links.end() ? "" : link->second);
  if (!described) return std::unexpected(described.error());
  *state.records[id].mutable_inode() = inode.record;
  if (leaves_out_pages(options_.disabled_kinds, inode.record)) return {};
  const int64_t changed_ns = to_nanoseconds(status.st_ctim);
  const bool by_call = changed_ns != inode.changed_ns || changed_ns > inode.compared_ns - kTimestampStepNs;
  // What was written by a call, or by way of a mapping that is gone, left no trace in the page tables that are there.
  if (!inode.compared || by_call || (mappings_changed_ && !(inode.record.seals() & F_SEAL_WRITE))) {
    inode.compared_ns = realtime_ns();
    TRY(inode.pages.take_all(pending_));
    inode.compared = true;
    inode.changed_ns = changed_ns;
    written_.erase(id);
    return {};
  }
  if (const auto written = written_.find(id); written != written_.end()) {
    for (const memory::PageRun& run : written->second.runs()) TRY(inode.pages.take(run, pending_));
    written_.erase(written);
  }
  return {};
}

/// Those that nobody has any more.
void Capturer::forget_memory_inodes(const PausedState& state) {
  for (auto at = memory_inodes_.begin(); at != memory_inodes_.end();) {
    if (state.memory_inodes.contains(at->first)) {
      ++at;
      continue;
    }
    pending_.erase_space(at->first);
    at = memory_inodes_.erase(at);
  }
}

/// A file that was mapped and has lost its name since its mappings were last read must be looked at anew: its contents are the store's now.
Result<void> Capturer::check_recalled_inodes(const PausedState& state) {
  for (const posix::ObjectId id : state.recalled) {
    const Inode& inode = *outside_inode(id, state);
    struct stat status {};
    const std::string path = fmt::format("/proc/{}/root{}", options_.init_pid, inode.path());
    if (::lstat(path.c_str(), &status) == 0 && status.st_ino == inode.number() && status.st_dev == inode.device()) continue;
    for (auto& [mm, space] : spaces_) space->mapped = false;
    return passing_failure(fmt::format("'{}' was renamed or removed", inode.path()), Retry::at_once);
  }
  return {};
}

}  // namespace perdure::capture
