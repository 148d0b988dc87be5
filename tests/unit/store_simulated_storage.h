// A disk in memory that can lose what was not flushed, tear writes, and fail any operation; and that records every operation, so that
// the disk as a power cut at any moment would leave it can be made from the record.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "store/storage.h"

namespace perdure::store::testing {

/// What a Storage operation does to the disk.
struct DiskOperation {
  enum class Kind { create, write, sync, failed_sync, rename, remove, sync_directory };
  Kind kind;
  uint64_t inode = 0;
  uint64_t offset = 0;
  std::string bytes{};  ///< written
  std::string name{};   ///< create, remove, rename: from
  std::string to{};
};

/// Files by name and contents.
struct DiskImage {
  std::map<std::string, std::string> files;
};

/// Shared by all who have opened it; outlives a "process" that dies.
class SimulatedDisk {
 public:
  SimulatedDisk() = default;
  explicit SimulatedDisk(const DiskImage& image);

  /// Asked before every operation: an errno makes it fail. `bytes` is the size of a write, of which a part may be done all the same.
  std::function<int(DiskOperation::Kind, const std::string& name, size_t bytes)> fault;
  std::function<int(const std::string& name, uint64_t offset, size_t bytes)> read_fault;

  const std::vector<DiskOperation>& operations() const { return operations_; }
  /// The disk as it is now, as a process that starts after a kill -9 sees it.
  DiskImage now() const;
  /// The disk after a power cut when the first `count` operations have been made: what was not flushed is there or not, sector by
  /// sector, as `random` has it.
  DiskImage after_power_cut(size_t count, std::mt19937_64& random) const;
  uint64_t bytes_written() const { return bytes_written_; }

 private:
  friend class SimulatedStorage;
  friend class SimulatedFile;
  struct Inode {
    std::string bytes;
    int shared_locks = 0;
    bool exclusive_lock = false;
  };
  int record(DiskOperation operation, const std::string& name, size_t bytes);

  DiskImage initial_;
  std::map<std::string, uint64_t> initial_inodes_;
  std::map<uint64_t, Inode> inodes_;
  std::map<std::string, uint64_t> names_;
  uint64_t last_inode_ = 0;
  std::vector<DiskOperation> operations_;
  uint64_t bytes_written_ = 0;
};

std::shared_ptr<Storage> make_simulated_storage(std::shared_ptr<SimulatedDisk> disk);

}  // namespace perdure::store::testing
