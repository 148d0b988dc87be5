#include "store_simulated_storage.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/bytes.h"

namespace perdure::store::testing {
namespace {

using Kind = DiskOperation::Kind;
constexpr size_t kSector = 512;

void write_at(std::string& bytes, uint64_t offset, std::string_view data) {
  if (bytes.size() < offset + data.size()) bytes.resize(offset + data.size());
  std::memcpy(bytes.data() + offset, data.data(), data.size());
}

/// Does each sector of an unflushed write with some probability; which one is drawn anew for each write, and is often none or all.
void write_some_sectors(std::string& bytes, const DiskOperation& write, std::mt19937_64& random) {
  const unsigned odds = std::array{0u, 1u, 2u, 3u, 4u}[random() % 5];
  for (size_t at = 0; at < write.bytes.size(); at += kSector)
    if (random() % 4 < odds) write_at(bytes, write.offset + at, std::string_view(write.bytes).substr(at, kSector));
}

/// What survives: replays operations, holding back what was not flushed.
class Survivor {
 public:
  Survivor(const DiskImage& initial, const std::map<std::string, uint64_t>& inodes, std::mt19937_64& random)
      : random_(random), names_(inodes) {
    for (const auto& [name, inode] : inodes) bytes_[inode] = initial.files.at(name);
  }

  void apply(const DiskOperation& operation) {
    switch (operation.kind) {
      case Kind::write: unflushed_.push_back(&operation); break;
      case Kind::sync: flush(operation.inode, false); break;
      case Kind::failed_sync: flush(operation.inode, true); break;
      case Kind::create:
      case Kind::rename:
      case Kind::remove: unflushed_names_.push_back(&operation); break;
      case Kind::sync_directory: flush_names(unflushed_names_.size()); break;
    }
  }

  DiskImage power_cut() {
    flush_names(random_() % (unflushed_names_.size() + 1));
    for (const DiskOperation* write : unflushed_) write_some_sectors(bytes_[write->inode], *write, random_);
    DiskImage image;
    for (const auto& [name, inode] : names_) image.files[name] = bytes_[inode];
    return image;
  }

 private:
  void flush(uint64_t inode, bool failed) {
    for (const DiskOperation* write : unflushed_) {
      if (write->inode != inode) continue;
      if (failed) write_some_sectors(bytes_[inode], *write, random_);
      else write_at(bytes_[inode], write->offset, write->bytes);
    }
    std::erase_if(unflushed_, [inode](const DiskOperation* write) { return write->inode == inode; });
  }

  void flush_names(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const DiskOperation& operation = *unflushed_names_[i];
      if (operation.kind == Kind::create) names_[operation.name] = operation.inode;
      if (operation.kind == Kind::remove) names_.erase(operation.name);
      if (operation.kind == Kind::rename) {
        names_[operation.to] = names_[operation.name];
        names_.erase(operation.name);
      }
    }
    unflushed_names_.clear();
  }

  std::mt19937_64& random_;
  std::map<std::string, uint64_t> names_;
  std::map<uint64_t, std::string> bytes_;
  std::vector<const DiskOperation*> unflushed_;
  std::vector<const DiskOperation*> unflushed_names_;
};

std::unexpected<Error> failed(const std::string& what, int error_number) { return std::unexpected(Error{what, error_number}); }

}  // namespace

SimulatedDisk::SimulatedDisk(const DiskImage& image) : initial_(image) {
  for (const auto& [name, bytes] : image.files) {
    names_[name] = ++last_inode_;
    inodes_[last_inode_].bytes = bytes;
  }
  initial_inodes_ = names_;
}

int SimulatedDisk::record(DiskOperation operation, const std::string& name, size_t bytes) {
  if (const int error = fault ? fault(operation.kind, name, bytes) : 0; error != 0) return error;
  operations_.push_back(std::move(operation));
  return 0;
}

DiskImage SimulatedDisk::now() const {
  DiskImage image;
  for (const auto& [name, inode] : names_) image.files[name] = inodes_.at(inode).bytes;
  return image;
}

DiskImage SimulatedDisk::after_power_cut(size_t count, std::mt19937_64& random) const {
  Survivor survivor(initial_, initial_inodes_, random);
  for (size_t i = 0; i < count; ++i) survivor.apply(operations_[i]);
  return survivor.power_cut();
}

class SimulatedFile : public File {
 public:
  SimulatedFile(std::shared_ptr<SimulatedDisk> disk, uint64_t inode, std::string name, bool direct)
      : disk_(std::move(disk)), inode_(inode), name_(std::move(name)), direct_(direct) {}
  ~SimulatedFile() override {
    check_finished("closing");
    unlock();
  }

  Result<void> write(uint64_t offset, std::span<const iovec> pieces) override {
    DiskOperation operation{.kind = Kind::write, .inode = inode_, .offset = offset};
    for (const iovec& piece : pieces) {
      check_aligned(offset, reinterpret_cast<uintptr_t>(piece.iov_base), piece.iov_len);
      operation.bytes.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
    std::string bytes = operation.bytes;
    if (const int error = disk_->record(std::move(operation), name_, bytes.size()); error != 0) {
      // A failed write has done some of it.
      bytes.resize(bytes.size() / 2 / kPageSize * kPageSize);
      if (!bytes.empty()) {
        disk_->operations_.push_back({.kind = Kind::write, .inode = inode_, .offset = offset, .bytes = bytes});
        write_at(disk_->inodes_[inode_].bytes, offset, bytes);
      }
      return failed("write " + name_, error);
    }
    disk_->bytes_written_ += bytes.size();
    write_at(disk_->inodes_[inode_].bytes, offset, bytes);
    return {};
  }

  /// Done as late as can be, in the order that is worst for who thinks that it is the one of the calls.
  Result<void> begin_write(uint64_t offset, std::span<const iovec> pieces) override {
    begun_.push_back({offset, {pieces.begin(), pieces.end()}});
    return {};
  }

  Result<void> finish_writes() override {
    Result<void> result;
    for (; !begun_.empty(); begun_.pop_back()) {
      auto written = write(begun_.back().offset, begun_.back().pieces);
      if (!written) result = std::move(written);
    }
    return result;
  }

  Result<void> sync() override {
    check_finished("sync");
    const int error = disk_->record({.kind = Kind::sync, .inode = inode_}, name_, 0);
    if (error == 0) return {};
    disk_->operations_.push_back({.kind = Kind::failed_sync, .inode = inode_});
    return failed("flush " + name_, error);
  }

  Result<size_t> read(uint64_t offset, std::span<std::byte> to) const override {
    check_aligned(offset, reinterpret_cast<uintptr_t>(to.data()), to.size());
    check_finished("read");
    if (const int error = disk_->read_fault ? disk_->read_fault(name_, offset, to.size()) : 0; error != 0) return failed("read " + name_, error);
    const std::string& bytes = disk_->inodes_.at(inode_).bytes;
    if (offset >= bytes.size()) return 0;
    const size_t count = std::min<size_t>(to.size(), bytes.size() - offset);
    std::memcpy(to.data(), bytes.data() + offset, count);
    return count;
  }

  Result<uint64_t> size() const override { return disk_->inodes_.at(inode_).bytes.size(); }

  void initialize(uint64_t size) override {
    std::string zeros(size, '\0');
    disk_->operations_.push_back({.kind = Kind::write, .inode = inode_, .bytes = zeros});
    write_at(disk_->inodes_[inode_].bytes, 0, zeros);
  }
  bool initializing() const override { return false; }

  bool try_lock(Lock kind) override {
    unlock();
    SimulatedDisk::Inode& inode = disk_->inodes_[inode_];
    if (inode.exclusive_lock || (kind == Lock::exclusive && inode.shared_locks > 0)) return false;
    if (kind == Lock::shared) ++inode.shared_locks;
    else inode.exclusive_lock = true;
    (kind == Lock::shared ? shared_ : exclusive_) = true;
    return true;
  }

  void unlock() override {
    SimulatedDisk::Inode& inode = disk_->inodes_[inode_];
    if (std::exchange(shared_, false)) --inode.shared_locks;
    if (std::exchange(exclusive_, false)) inode.exclusive_lock = false;
  }

 private:
  void check_aligned(uint64_t offset, uintptr_t address, size_t size) const {
    if (!direct_ || (offset % kPageSize == 0 && address % kPageSize == 0 && size % kPageSize == 0)) return;
    std::fprintf(stderr, "misaligned direct I/O on %s: offset %zu address %zx size %zu\n", name_.c_str(), offset, address, size);
    std::abort();
  }

  void check_finished(const char* what) const {
    if (begun_.empty()) return;
    std::fprintf(stderr, "%s of %s before the writes that were begun are done\n", what, name_.c_str());
    std::abort();
  }

  struct Begun {
    uint64_t offset;
    std::vector<iovec> pieces;
  };
  std::shared_ptr<SimulatedDisk> disk_;
  uint64_t inode_;
  std::string name_;
  bool direct_;
  std::vector<Begun> begun_;
  bool shared_ = false;
  bool exclusive_ = false;
};

class SimulatedStorage : public Storage {
 public:
  explicit SimulatedStorage(std::shared_ptr<SimulatedDisk> disk) : disk_(std::move(disk)) {}

  Result<std::vector<std::string>> list() const override {
    std::vector<std::string> names;
    for (const auto& [name, inode] : disk_->names_) names.push_back(name);
    return names;
  }

  Result<std::unique_ptr<File>> open(const std::string& name, Access access, Caching caching) override {
    auto found = disk_->names_.find(name);
    const bool exists = found != disk_->names_.end();
    if (!exists && (access == Access::read_only || access == Access::read_write)) return failed("open " + name, ENOENT);
    if (exists && access == Access::create) return failed("open " + name, EEXIST);
    if (!exists || access == Access::replace) {
      const uint64_t inode = disk_->last_inode_ + 1;
      const int error = disk_->record({.kind = Kind::create, .inode = inode, .name = name}, name, 0);
      if (error != 0) return failed("open " + name, error);
      disk_->names_[name] = disk_->last_inode_ = inode;
      disk_->inodes_[inode] = {};
    }
    return std::make_unique<SimulatedFile>(disk_, disk_->names_[name], name, caching == Caching::direct);
  }

  Result<void> rename(const std::string& from, const std::string& to) override {
    const int error = disk_->record({.kind = Kind::rename, .name = from, .to = to}, from, 0);
    if (error != 0) return failed("rename " + from, error);
    disk_->names_[to] = disk_->names_[from];
    disk_->names_.erase(from);
    return {};
  }

  Result<void> remove(const std::string& name, std::unique_ptr<File>) override {
    const int error = disk_->record({.kind = Kind::remove, .name = name}, name, 0);
    if (error != 0) return failed("remove " + name, error);
    disk_->names_.erase(name);
    return {};
  }

  Result<void> sync_directory() override {
    const int error = disk_->record({.kind = Kind::sync_directory}, "", 0);
    if (error != 0) return failed("flush the directory", error);
    return {};
  }

  std::string path(const std::string& name) const override { return "simulated/" + name; }

 private:
  std::shared_ptr<SimulatedDisk> disk_;
};

std::shared_ptr<Storage> make_simulated_storage(std::shared_ptr<SimulatedDisk> disk) {
  return std::make_shared<SimulatedStorage>(std::move(disk));
}

}  // namespace perdure::store::testing
